"""Signed calls are let in once, and go on being let in while the keys that sign them change."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import threading
import time
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings as django_settings
from django.db import OperationalError, connection
from django.http import HttpResponse
from django.test import Client
from structlog.testing import capture_logs

from auth import nonces
from auth.models import SignatureNonce
from internal import nonces as store_module
from internal import signing
from internal.keys import NamedKey
from internal.nonces import NonceStore
from tests.auth import calls

pytestmark = pytest.mark.django_db

PATH = "/internal/v1/sessions/revoke"
BODY = json.dumps({"refresh_token": "A" * 43}).encode()


def signature(body: bytes = BODY) -> dict[str, str]:
    digest = hashlib.sha256(body).hexdigest()
    return signing.sign(django_settings.SERVICE_KEYS, method="POST", path=PATH, body_digest=digest)


def send(headers: Mapping[str, str], *, path: str = PATH, body: bytes = BODY, method: str = "POST") -> HttpResponse:
    return Client().generic(method, path, body, content_type="application/json", headers=dict(headers))


def reason_of_refusal(headers: Mapping[str, str], **call: Any) -> str:
    """What the log says about a call that is refused."""
    with capture_logs() as logged:
        response = send(headers, **call)
    assert calls.problem(response)[:2] == (401, "invalid_signature")
    [reason] = [line["reason"] for line in logged if line["event"] == "service_signature_refused"]
    assert isinstance(reason, str)
    return reason


def test_a_replayed_call_is_refused() -> None:
    headers = signature()

    assert send(headers).status_code == 200
    assert reason_of_refusal(headers) == "the call was let in before: it is a replay"
    assert send(signature()).status_code == 200


def test_a_stale_call_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    headers = signature()
    later = time.time() + signing.WINDOW + 1
    monkeypatch.setattr(signing.time, "time", lambda: later)

    assert "away from this clock" in reason_of_refusal(headers)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"body": BODY.replace(b"A", b"B")}, "the body is not the one that was signed"),
        ({"method": "PUT"}, "does not fit"),
        ({"path": "/internal/v1/sessions/refresh"}, "does not fit"),
        ({"path": PATH + "?x=1"}, "does not fit"),
    ],
)
def test_an_altered_call_is_refused_and_does_not_use_up_the_nonce(change: dict[str, Any], reason: str) -> None:
    headers = signature()

    assert reason in reason_of_refusal(headers, **change)
    assert send(headers).status_code == 200


@pytest.mark.parametrize("name", [signing.TIME_HEADER, signing.NONCE_HEADER])
def test_a_call_with_another_time_or_nonce_is_refused(name: str) -> None:
    headers = signature()
    other = {signing.TIME_HEADER: str(int(time.time()) + 1), signing.NONCE_HEADER: uuid4().hex}

    assert "does not fit" in reason_of_refusal(headers | {name: other[name]})


def test_an_unsigned_call_is_refused() -> None:
    assert "missing" in reason_of_refusal({})


def test_without_its_database_the_role_lets_no_signed_call_in(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(nonce: object, *, signed_at: int) -> bool:
        raise OperationalError("connection refused")

    monkeypatch.setattr(nonces, "first_use", fail)
    response = send(signature())

    assert calls.problem(response)[:2] == (503, "database_unavailable")
    assert response["Retry-After"] == "5"


@pytest.mark.django_db(transaction=True)
def test_of_the_same_call_sent_many_times_at_once_one_is_let_in() -> None:
    for _ in range(5):
        headers, ready, statuses = signature(), threading.Barrier(4), []

        def run(headers: dict[str, str] = headers, ready: threading.Barrier = ready, s: list[int] = statuses) -> None:
            try:
                ready.wait()
                s.append(send(headers).status_code)
            finally:
                connection.close()

        threads = [threading.Thread(target=run) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(statuses) == [200, 401, 401, 401]


def test_a_nonce_is_kept_for_as_long_as_its_call_could_be_let_in_anywhere() -> None:
    store = NonceStore(SignatureNonce)
    now = int(time.time())
    for age in (61, 100, 40, 31, 0, -30):
        assert store.first_use(uuid4(), signed_at=now - age)

    assert store.purge() == 2
    assert SignatureNonce.objects.count() == 4


def test_nonces_are_purged_now_and_then_by_the_calls_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    store = NonceStore(SignatureNonce)
    now = int(time.time())
    store.first_use(uuid4(), signed_at=now - 100)
    store.first_use(uuid4(), signed_at=now)
    assert SignatureNonce.objects.count() == 2

    later = time.monotonic() + store_module.PURGE_INTERVAL
    monkeypatch.setattr(store_module.time, "monotonic", lambda: later)
    store.first_use(uuid4(), signed_at=now)
    assert SignatureNonce.objects.count() == 2


# new keys


def service_key(name: str) -> NamedKey:
    return NamedKey(name, hashlib.sha256(name.encode()).digest())


def let_in(signs_with: tuple[NamedKey, ...], accepts: tuple[NamedKey, ...], settings: Any) -> bool:
    settings.SERVICE_KEYS = accepts
    response = calls.signed("sessions/revoke", {"refresh_token": "A" * 43}, keys=signs_with)
    assert response.status_code in {200, 401}
    return response.status_code == 200


def test_the_documented_order_of_a_key_rotation_refuses_no_call_at_any_moment(settings: Any) -> None:
    old, new = service_key("old"), service_key("new")
    steps = [(old,), (old, new), (new, old), (new,)]  # second everywhere, then first everywhere, then alone

    # While a step is being rolled out, replicas of both roles are before it or behind it, in any combination.
    for before, after in itertools.pairwise(steps):
        for gateway, receiver in itertools.product((before, after), repeat=2):
            assert let_in(gateway, receiver, settings), (gateway, receiver)


@pytest.mark.parametrize("hasty", [[("old",), ("new", "old")], [("old", "new"), ("new",)], [("old",), ("new",)]])
def test_a_rotation_that_skips_a_step_would_refuse_calls(hasty: list[tuple[str, ...]], settings: Any) -> None:
    before, after = (tuple(map(service_key, names)) for names in hasty)
    combinations = itertools.product((before, after), repeat=2)

    assert not all(let_in(gateway, receiver, settings) for gateway, receiver in combinations)


def test_a_dropped_key_signs_nothing_any_more(settings: Any) -> None:
    assert not let_in((service_key("old"),), (service_key("new"),), settings)
    forged = NamedKey("new", base64.b64decode(base64.b64encode(b"x" * 32)))
    assert not let_in((forged,), (service_key("new"),), settings)
