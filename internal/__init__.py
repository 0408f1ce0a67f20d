"""The only code that roles share: contracts, clients, token verification, health, metrics, logging. No models."""
