"""`python -m bulkhead` is `bulkhead`."""

from bulkhead.cli.main import main

if __name__ == "__main__":
    main()
