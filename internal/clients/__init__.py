"""The clients of this process, one for each role that may be called. Call them as `clients.auth_client()`."""

from __future__ import annotations

from functools import cache

from django.conf import settings

from internal.clients.auth import AuthClient
from internal.clients.images import ImagesClient
from internal.transport import Transport

__all__ = ["AuthClient", "ImagesClient", "auth_client", "images_client"]


@cache
def auth_client() -> AuthClient:
    """The client of the auth role at AUTH_URL."""
    return AuthClient(Transport("auth", settings.AUTH_URL, settings.SERVICE_KEYS))


@cache
def images_client() -> ImagesClient:
    """The client of the images role at IMAGES_URL."""
    return ImagesClient(Transport("images", settings.IMAGES_URL, settings.SERVICE_KEYS))
