"""The command line: `bulkhead <noun> <verb>`."""
