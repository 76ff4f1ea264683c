"""The products database: catalogue, stock, reviews, carts and search."""
