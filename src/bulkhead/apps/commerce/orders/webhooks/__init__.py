"""What the payment company tells, taken in once."""
