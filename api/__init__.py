"""The public REST API of the gateway, under /api/v1/: JSON in, JSON and problem documents out, bearer tokens only."""
