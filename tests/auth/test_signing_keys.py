"""Signing keys and the key set."""

from __future__ import annotations

import base64
import json
import threading
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.utils import timezone
from joserfc import jws, jwt
from joserfc.jwk import OKPKey

from auth import key_encryption, key_rotation, signing_keys
from auth.key_encryption import UndecryptableKey
from auth.models import AuditEvent, SigningKey
from internal.keys import NamedKey
from tests.auth import calls

pytestmark = pytest.mark.django_db


def test_no_key_has_an_id_that_a_command_line_takes_for_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = iter(["-not-this-one", "-nor-this-one", "this-one"])
    monkeypatch.setattr(OKPKey, "thumbprint", lambda self: next(ids))

    assert signing_keys.generate().kid == "this-one"


def test_the_key_set_publishes_the_public_half_of_a_key_that_is_made_on_demand() -> None:
    response = Client().get("/internal/v1/jwks")

    key = SigningKey.objects.get()
    jwk = OKPKey.import_key(key.public_jwk)
    assert response.status_code == 200
    assert response["Cache-Control"] == "no-store"
    assert json.loads(response.content) == {
        "keys": [
            {
                "kty": "OKP",
                "crv": "Ed25519",
                "x": key.public_jwk["x"],
                "kid": jwk.thumbprint(),
                "alg": "Ed25519",
                "use": "sig",
            }
        ]
    }
    assert AuditEvent.objects.get().details == {"kid": key.kid, "state": "active"}


def test_next_active_and_retiring_keys_are_published_and_retired_ones_are_not() -> None:
    active = signing_keys.ensure_active()
    now = timezone.now()
    published = {active.kid}
    for state, dates in [
        ("next", {}),
        ("retiring", {"activated_at": now, "retiring_at": now}),
        ("retired", {"activated_at": now, "retiring_at": now, "retired_at": now}),
    ]:
        key = signing_keys.generate()
        key.state = SigningKey.State(state)
        for name, date in dates.items():
            setattr(key, name, date)
        if dates:
            key_encryption.erase(key)
        key.save()
        if state != "retired":
            published.add(key.kid)

    document = json.loads(Client().get("/internal/v1/jwks").content)

    assert {jwk["kid"] for jwk in document["keys"]} == published
    assert all("d" not in jwk for jwk in document["keys"])


def test_an_access_token_says_whose_it_is_and_which_key_signed_it(grant: dict[str, Any]) -> None:
    key = SigningKey.objects.get()
    parsed = jws.extract_compact(grant["access_token"].encode())
    claims = jwt.decode(grant["access_token"], OKPKey.import_key(key.public_jwk), algorithms=["Ed25519"]).claims

    assert parsed.headers() == {"alg": "Ed25519", "kid": key.kid, "typ": "at+jwt"}
    assert sorted(claims) == ["aud", "exp", "iat", "iss", "jti", "sid", "sub"]
    assert (claims["iss"], claims["aud"], claims["exp"] - claims["iat"]) == ("seawall", "seawall", 600)


def test_a_token_of_a_retired_key_is_refused_at_once(grant: dict[str, Any]) -> None:
    now = timezone.now()
    SigningKey.objects.update(state="retired", retiring_at=now, retired_at=now, private_half=b"", encryption_key_id="")

    response = calls.personal("GET", "account", grant["access_token"])

    assert calls.problem(response)[:2] == (401, "invalid_token")


def test_a_forged_token_is_refused(grant: dict[str, Any]) -> None:
    kid = SigningKey.objects.get().kid
    claims = {
        "iss": "seawall",
        "aud": "seawall",
        "sub": "00000000-0000-4000-8000-000000000000",
        "sid": str(calls.session_id(grant)),
        "iat": 0,
        "exp": 9_999_999_999,
    }
    strangers_key = OKPKey.generate_key("Ed25519", private=True)
    forged = jwt.encode({"alg": "Ed25519", "kid": kid}, claims, strangers_key, algorithms=["Ed25519"])

    assert calls.problem(calls.personal("GET", "account", forged))[:2] == (401, "invalid_token")


def test_the_private_half_is_stored_encrypted_and_bound_to_its_key_id() -> None:
    first = signing_keys.ensure_active()
    second = signing_keys.generate()
    secret = key_encryption.decrypt(first)["d"]

    assert secret.encode() not in bytes(first.private_half)
    assert base64.urlsafe_b64decode(secret + "=") not in bytes(first.private_half)
    first.private_half = second.private_half
    with pytest.raises(UndecryptableKey):
        key_encryption.decrypt(first)


def test_several_encryption_keys_are_accepted_and_the_first_one_encrypts(settings: Any) -> None:
    key = signing_keys.ensure_active()
    old = settings.KEY_ENCRYPTION_KEYS[0]
    settings.KEY_ENCRYPTION_KEYS = (NamedKey("newer", b"n" * 32), old)

    assert signing_keys.generate().encryption_key_id == "newer"
    assert key_encryption.decrypt(key)["kty"] == "OKP"

    settings.KEY_ENCRYPTION_KEYS = (NamedKey("newer", b"n" * 32),)
    with pytest.raises(UndecryptableKey, match="KEY_ENCRYPTION_KEYS lacks"):
        key_encryption.decrypt(key)


def test_the_database_allows_one_active_and_one_next_key() -> None:
    key_rotation.maintain()
    second = signing_keys.generate()

    second.state, second.activated_at = SigningKey.State.ACTIVE, timezone.now()
    with pytest.raises(IntegrityError, match="signing_key_one_active"), transaction.atomic():
        second.save()
    second.state, second.activated_at = SigningKey.State.NEXT, None
    with pytest.raises(IntegrityError, match="signing_key_one_next"), transaction.atomic():
        second.save()


def test_the_database_allows_private_halves_only_where_keys_sign() -> None:
    key_rotation.maintain()

    with pytest.raises(IntegrityError, match="private_half_fits_state"), transaction.atomic():
        SigningKey.objects.filter(state="active").update(state="retiring", retiring_at=timezone.now())
    for empty in ({"private_half": b""}, {"encryption_key_id": ""}):
        with pytest.raises(IntegrityError, match="private_half_fits_state"), transaction.atomic():
            SigningKey.objects.filter(state="next").update(**empty)


@pytest.mark.django_db(transaction=True)
def test_processes_that_start_together_make_one_key() -> None:
    made: list[str] = []
    ready = threading.Barrier(4)

    def start() -> None:
        try:
            ready.wait()
            made.append(signing_keys.ensure_active().kid)
        finally:
            connection.close()

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert made == [SigningKey.objects.get().kid] * 4
    assert AuditEvent.objects.filter(what="signing_key_created").count() == 1
