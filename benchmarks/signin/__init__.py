"""What a sign-in costs beside the hash that it cannot do without."""
