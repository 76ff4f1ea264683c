"""Many databases kept as one system; knows no HTTP and no application."""
