"""Email addresses: when two of them are the same."""

from __future__ import annotations

import hashlib
import unicodedata

from django.utils.encoding import punycode

MAX_LENGTH = 254  # RFC 5321, 4.5.3.1.3, less the angle brackets


def email_key(email: str) -> str:
    """What the spellings of one address have in common: no space around it, NFKC, lower case, the domain in ASCII.

    RFC 5321 lets the part before the @ tell upper from lower case; no mail system that people use does.
    """
    lowered = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", email.strip()).lower())
    local, at, domain = lowered.rpartition("@")
    try:
        return f"{local}{at}{punycode(domain)}"
    except UnicodeError:  # not a domain, so not an address that anybody could have registered
        return lowered


def email_digest(email: str) -> str:
    """SHA-256 of the key in hexadecimal: counts attempts on an address without keeping the address."""
    return hashlib.sha256(email_key(email).encode()).hexdigest()
