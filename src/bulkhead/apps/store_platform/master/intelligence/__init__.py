"""What is rolled up from the stores and from what they used."""
