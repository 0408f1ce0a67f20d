"""What the portal's templates need beyond Django's own tags."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django import template
from django.template.defaultfilters import date as format_date
from django.utils.html import format_html
from django.utils.safestring import SafeString

from portal.avatars import avatar_path
from portal.outages import outlook
from portal.pictures import public_url

register = template.Library()


@register.filter
def moment(value: dt.datetime | None) -> SafeString | str:
    """A point in time as a <time> element in UTC, which the script times.js tells in the reader's own time zone."""
    if value is None:
        return "never"
    utc = value.astimezone(dt.UTC)
    iso = utc.isoformat(timespec="seconds").replace("+00:00", "Z")
    return format_html('<time datetime="{}">{} UTC</time>', iso, format_date(utc, "j F Y, H:i"))


@register.filter
def lasting(since: dt.datetime) -> str:
    """How long it has been since then, in the largest unit, such as «for 3 minutes»."""
    seconds = max(0, int((dt.datetime.now(dt.UTC) - since).total_seconds()))
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if count := seconds // length:
            return f"for {count} {unit}{'' if count == 1 else 's'}"
    return "for some seconds"


@register.simple_tag
def missing() -> tuple[str, ...]:
    """What does not work at this moment, as words within a sentence."""
    return outlook().missing


@register.simple_tag(takes_context=True)
def avatar(context: dict[str, Any]) -> str | None:
    """Where the avatar of the person who is signed in is now, relative to UPLOADS_URL."""
    request = context["request"]
    return avatar_path(request, request.sign_in)


@register.filter
def uploaded(path: str) -> str:
    """The public address of a stored file."""
    return public_url(path)
