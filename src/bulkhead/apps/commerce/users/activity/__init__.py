"""What a user did, as told by the other databases."""
