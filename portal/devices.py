"""What a browser says of itself, kept short, and told again in plain words."""

from __future__ import annotations

import re

from django.http import HttpRequest

LONGEST_DEVICE = 200

# The order matters: most browsers also name the ones they want to be taken for.
_PROGRAMS = (
    (r"Edg(?:e|A|iOS)?/", "Edge"),
    (r"OPR/|Opera", "Opera"),
    (r"SamsungBrowser/", "Samsung Internet"),
    (r"Vivaldi/", "Vivaldi"),
    (r"Firefox/|FxiOS/", "Firefox"),
    (r"Chrome/|CriOS/|Chromium/", "Chrome"),
    (r"Version/\S+.* Safari/", "Safari"),
    (r"^curl/", "curl"),
    (r"^(?:python-|Python-|HTTPie/|Wget/|Go-http-client/|okhttp/|PostmanRuntime/)", "A program"),
)
_SYSTEMS = (
    (r"iPhone", "iPhone"),
    (r"iPad", "iPad"),
    (r"Android", "Android"),
    (r"CrOS", "ChromeOS"),
    (r"Windows", "Windows"),
    (r"Macintosh|Mac OS X", "macOS"),
    (r"Linux|X11", "Linux"),
)


def device_of(request: HttpRequest) -> str:
    """The user agent without control characters, at most 200 characters."""
    printable = "".join(character for character in request.headers.get("User-Agent", "") if character.isprintable())
    return printable[:LONGEST_DEVICE].strip()


def in_words(device: str) -> str:
    """A user agent as a person would say it, such as «Firefox on Linux»."""
    program = _first_match(_PROGRAMS, device)
    system = _first_match(_SYSTEMS, device)
    if program and system:
        return f"{program} on {system}"
    if program:
        return program
    return f"A browser on {system}" if system else "An unknown device"


def _first_match(rules: tuple[tuple[str, str], ...], text: str) -> str | None:
    return next((name for pattern, name in rules if re.search(pattern, text)), None)
