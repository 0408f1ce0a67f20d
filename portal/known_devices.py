"""Devices on which a person has signed in before, so that strangers cannot lock the person out there.

A cookie holds a random name for the device and, for each of the last people who signed in on it, an authentication code
over the name and the email address. Only this portal can make such a code, and makes it for whoever knew the password.
Auth counts failed sign-ins of a known device apart (see docs/decisions/0035). The cookie lets nobody in.
Source: OWASP, "Slow Down Online Guessing Attacks with Device Cookies".
"""

from __future__ import annotations

import re
import secrets
from typing import Final

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare, salted_hmac

MAX_AGE: Final = 400 * 24 * 3600  # seconds; browsers keep no cookie for longer
PEOPLE: Final = 5  # on one device

_COOKIE = re.compile(rf"([0-9a-f]{{32}})((?:\.[0-9a-f]{{64}}){{1,{PEOPLE}}})")


def cookie_name() -> str:
    """As for the other cookies: with the prefix that ties it to this host, where there is HTTPS."""
    return "__Host-device" if settings.HTTPS_ONLY else "device"


def known_device(request: HttpRequest, email: str) -> str:
    """The name of the device, if the person with this email address has signed in on it; else empty."""
    name, codes = _read(request)
    wanted = _code(name, email)
    return name if any(constant_time_compare(code, wanted) for code in codes) else ""


def remember(request: HttpRequest, response: HttpResponse, email: str) -> HttpResponse:
    """Notes on the device that the person with this email address has signed in, and returns the response."""
    name, codes = _read(request)
    name = name or secrets.token_hex(16)
    latest = _code(name, email)
    kept = [latest, *(code for code in codes if code != latest)][:PEOPLE]
    response.set_cookie(
        cookie_name(),
        ".".join([name, *kept]),
        max_age=MAX_AGE,
        path="/",
        secure=settings.HTTPS_ONLY,
        httponly=True,
        samesite="Lax",
    )
    return response


def _read(request: HttpRequest) -> tuple[str, list[str]]:
    found = _COOKIE.fullmatch(request.COOKIES.get(cookie_name(), ""))
    return (found[1], found[2].strip(".").split(".")) if found else ("", [])


def _code(name: str, email: str) -> str:
    return salted_hmac("portal.known_devices", f"{name} {email.strip().lower()}", algorithm="sha256").hexdigest()
