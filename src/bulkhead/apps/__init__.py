"""Applications: each is a folder, and inside it each folder is a database."""
