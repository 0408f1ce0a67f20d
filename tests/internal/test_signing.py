"""Signed calls: what is accepted, and that everything else is not."""

from __future__ import annotations

import time

import pytest

from internal import signing
from internal.keys import NamedKey

OLD, NEW = NamedKey("old", b"o" * 32), NamedKey("new", b"n" * 32)
CALL = {"method": "POST", "path": "/internal/v1/sessions?x=1"}


def headers(*keys: NamedKey) -> dict[str, str]:
    return signing.sign(keys or (NEW,), **CALL, body_digest=signing.EMPTY_DIGEST)


def test_a_call_signed_with_any_accepted_key_is_accepted_so_that_keys_can_rotate() -> None:
    assert signing.verify((NEW, OLD), headers(OLD), **CALL).key_id == "old"
    assert signing.verify((OLD, NEW), headers(NEW), **CALL).key_id == "new"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, "method"),
        ({signing.SIGNATURE_HEADER: "0" * 64}, "signature"),
        ({signing.SIGNATURE_HEADER: "é"}, "signature"),
        ({signing.SIGNATURE_HEADER: ""}, "signature"),
        ({signing.KEY_HEADER: "unknown"}, "key"),
        ({signing.TIME_HEADER: "soon"}, "headers"),
        ({signing.TIME_HEADER: "9" * 40}, "headers"),
        ({signing.TIME_HEADER: str(int(time.time()) + 5)}, "signature"),
        ({signing.NONCE_HEADER: "0" * 32}, "signature"),
        ({signing.NONCE_HEADER: ""}, "headers"),
        ({signing.NONCE_HEADER: "0" * 31 + "g"}, "headers"),
        ({signing.NONCE_HEADER: "0" * 33}, "headers"),
        ({signing.DIGEST_HEADER: "a" * 64}, "signature"),
        ({signing.DIGEST_HEADER: ""}, "headers"),
    ],
)
def test_an_altered_call_is_refused(change: dict[str, str], reason: str) -> None:
    call = CALL | {"method": "DELETE"} if reason == "method" else CALL
    with pytest.raises(signing.InvalidSignature):
        signing.verify((NEW,), headers() | change, **call)


def test_each_signature_has_a_nonce_of_its_own_that_the_verifier_learns() -> None:
    signed = [headers() for _ in range(100)]

    nonces = {signing.verify((NEW,), call, **CALL).nonce for call in signed}

    assert {nonce.hex for nonce in nonces} == {call[signing.NONCE_HEADER] for call in signed}
    assert len(nonces) == 100


def test_another_path_or_an_unsigned_call_is_refused() -> None:
    with pytest.raises(signing.InvalidSignature):
        signing.verify((NEW,), headers(), method="POST", path="/internal/v1/sessions?x=2")
    with pytest.raises(signing.InvalidSignature, match="missing"):
        signing.verify((NEW,), {}, **CALL)


@pytest.mark.parametrize(("seconds", "accepted"), [(-31, False), (-28, True), (28, True), (31, False)])
def test_a_call_outside_the_time_window_is_refused(
    monkeypatch: pytest.MonkeyPatch, seconds: int, accepted: bool
) -> None:
    signed = headers()
    now = time.time()
    monkeypatch.setattr(signing.time, "time", lambda: now + seconds)
    if accepted:
        assert signing.verify((NEW,), signed, **CALL).key_id == "new"
    else:
        with pytest.raises(signing.InvalidSignature, match="clock"):
            signing.verify((NEW,), signed, **CALL)
