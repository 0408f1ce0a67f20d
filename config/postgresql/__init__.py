"""Django's PostgreSQL backend, with a pool that forgets all of its idle connections when one of them is dead."""
