"""The public catalogue: lists of products, one product, categories and collections."""
