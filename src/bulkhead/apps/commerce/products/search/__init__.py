"""Searching and narrowing down what is for sale."""
