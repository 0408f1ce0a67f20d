"""Signatures of calls between services that carry no user token.

HMAC-SHA256 over time, nonce, method, path and body digest. A signature alone can be sent again: whoever verifies one
also lets each nonce in once only (internal.nonces), and remembers it for longer than its time is good.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from internal.keys import NamedKey, find

KEY_HEADER = "X-Seawall-Key"
TIME_HEADER = "X-Seawall-Time"
NONCE_HEADER = "X-Seawall-Nonce"
DIGEST_HEADER = "X-Seawall-Digest"
SIGNATURE_HEADER = "X-Seawall-Signature"

WINDOW = 30  # seconds that two clocks may differ, the way included
EMPTY_DIGEST = hashlib.sha256(b"").hexdigest()

_UNIX_TIME = re.compile(r"[0-9]{1,12}")
_NONCE = re.compile(r"[0-9a-f]{32}")
_HEX_DIGEST = re.compile(r"[0-9a-f]{64}")


class InvalidSignature(Exception):
    """The call is not signed, or its signature is not good; the message says which, for the log."""


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature that fits its call: the id of the key, the time (unix s) and the nonce that it covers."""

    key_id: str
    time: int
    nonce: UUID


def sign(keys: Sequence[NamedKey], *, method: str, path: str, body_digest: str) -> dict[str, str]:
    """The headers that sign a call with the first key.

    Args:
        keys: the accepted keys, the one that signs first.
        method: the HTTP method.
        path: the path with its query, as sent.
        body_digest: SHA-256 of the body, hexadecimal.
    """
    key = keys[0]
    moment, nonce = str(int(time.time())), secrets.token_hex(16)
    return {
        KEY_HEADER: key.id,
        TIME_HEADER: moment,
        NONCE_HEADER: nonce,
        DIGEST_HEADER: body_digest,
        SIGNATURE_HEADER: _signature(key, moment, nonce, method, path, body_digest),
    }


def verify(keys: Sequence[NamedKey], headers: Mapping[str, str], *, method: str, path: str) -> Signature:
    """Checks the signature of a call.

    The caller must still compare the body with the digest that the signature covers (`digest_matches`): a body that
    is a stream is known only when it has been read. And it must let the nonce in once only.

    Raises:
        InvalidSignature: unsigned, unknown key, out of the time window, or altered.
    """
    moment, nonce, digest = (headers.get(name, "") for name in (TIME_HEADER, NONCE_HEADER, DIGEST_HEADER))
    if not (_UNIX_TIME.fullmatch(moment) and _NONCE.fullmatch(nonce) and _HEX_DIGEST.fullmatch(digest)):
        raise InvalidSignature("the signature's headers are missing or malformed")
    key = find(keys, headers.get(KEY_HEADER, ""))
    if key is None:
        raise InvalidSignature("the key is not one of those accepted")
    expected = _signature(key, moment, nonce, method, path, digest)
    if not hmac.compare_digest(expected.encode(), headers.get(SIGNATURE_HEADER, "").encode()):
        raise InvalidSignature("the signature does not fit the call")
    if abs(time.time() - int(moment)) > WINDOW:
        raise InvalidSignature(f"the call is more than {WINDOW} s away from this clock")
    return Signature(key.id, int(moment), UUID(hex=nonce))


def digest_matches(headers: Mapping[str, str], body_digest: str) -> bool:
    """Whether the body that was read (its SHA-256, hexadecimal) is the one that was signed."""
    return hmac.compare_digest(headers.get(DIGEST_HEADER, "").encode(), body_digest.encode())


def _signature(key: NamedKey, moment: str, nonce: str, method: str, path: str, digest: str) -> str:
    message = "\n".join(["seawall-2", moment, nonce, method.upper(), path, digest])
    return hmac.new(key.secret, message.encode(), hashlib.sha256).hexdigest()
