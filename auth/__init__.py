"""The auth role: accounts, sessions, signing keys and the record of what happened to them."""
