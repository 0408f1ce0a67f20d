"""Headers that tell a browser what a page of ours never does."""

from __future__ import annotations

from typing import Any


def content_security_policy(*, images: str) -> dict[str, Any]:
    """The policy of every page: nothing but our own, no inline script or style; stored images come from `images`."""
    return {
        "DIRECTIVES": {
            "default-src": ["'none'"],
            "object-src": ["'none'"],
            "script-src": ["'self'"],
            "style-src": ["'self'"],
            "font-src": ["'self'"],
            "connect-src": ["'self'"],
            "img-src": ["'self'", "blob:", "data:", images],
            "form-action": ["'self'"],
            "base-uri": ["'none'"],
            "frame-ancestors": ["'none'"],
        }
    }


def permissions_policy() -> dict[str, list[str]]:
    """No page of ours needs the device."""
    return {
        feature: []
        for feature in (
            "accelerometer",
            "camera",
            "display-capture",
            "geolocation",
            "gyroscope",
            "magnetometer",
            "microphone",
            "midi",
            "payment",
            "usb",
        )
    }
