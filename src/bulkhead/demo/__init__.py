"""`bulkhead demo`: a year of a real shop, replayed through the HTTP API, and then proven."""
