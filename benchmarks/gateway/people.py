"""What people ask for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import urllib3

PROFILE, IMAGES = "/api/v1/profile", "/api/v1/images"
ASK = {"Cache-Control": "no-cache"}  # the gateway asks the roles, whatever it remembers
_pool = urllib3.PoolManager(retries=False, timeout=15, maxsize=8)


class AnswerError(Exception):
    """An answer that was not expected, so that nothing can be measured."""


def ask(
    role: str,
    path: str,
    token: str,
    *,
    method: str = "GET",
    payload: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    status: int = 200,
) -> Any:
    """One request of a person to a role; the answer's document, None if it has none.

    Raises:
        AnswerError: another status.
    """
    own = {"Authorization": f"Bearer {token}", **(headers or {})}
    if payload is not None:
        own["Content-Type"] = "application/json"
    body = None if payload is None else json.dumps(payload).encode()
    answer = _pool.request(method, role + path, body=body, headers=own)
    if answer.status != status:
        raise AnswerError(f"{method} {path} was answered with {answer.status}: {answer.data[:200]!r}")
    return json.loads(answer.data) if answer.data else None
