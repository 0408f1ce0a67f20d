"""The calls of the API: each view reads its input, makes one call to a service, and answers."""
