"""How many threads answer requests in each worker process, where THREADS does not say."""

from __future__ import annotations

from typing import Final

THREADS: Final = {
    "gateway": 16,  # most of which wait for other roles; the bulkheads are parts of them
    "auth": 8,
    "images": 8,
    "console": 4,  # each holds a connection to both databases: config/connections.toml
}
