"""The environment is read with types, and all of its faults are told at once."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from config.env import Environment, EnvironmentFault
from internal.keys import NamedKey

GOOD_KEY = base64.b64encode(b"k" * 32).decode()


def test_every_fault_is_in_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ABSENT", raising=False)
    monkeypatch.setenv("SHORT", "abc")
    monkeypatch.setenv("NOT_A_NUMBER", "many")
    monkeypatch.setenv("TOO_MANY", "99")
    monkeypatch.setenv("LOST_FILE", "/no/such/file")
    env = Environment()
    env.str("ABSENT")
    env.secret("SHORT", at_least=50)
    env.whole("NOT_A_NUMBER", at_least=1, at_most=5)
    env.whole("TOO_MANY", at_least=1, at_most=5)
    env.str("LOST")
    with pytest.raises(EnvironmentFault) as caught:
        env.seal()
    assert str(caught.value).splitlines()[1:] == [
        "  ABSENT: it is not set, and it has no default",
        "  LOST: the file that LOST_FILE names cannot be read as text",
        "  NOT_A_NUMBER: it must be a whole number from 1 to 5",
        "  SHORT: it has 3 characters; at least 50 random ones are needed",
        "  TOO_MANY: it is 99; a whole number from 1 to 5 is allowed",
    ]
    assert "abc" not in str(caught.value)


def test_a_secret_may_come_from_a_file_and_its_line_end_does_not_count(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "secret"
    file.write_text("s" * 50 + "\n")
    monkeypatch.setenv("FROM_A_FILE", str(file))
    env = Environment()
    assert env.secret("FROM_A", at_least=50) == "s" * 50
    env.seal()


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ("", "at least one key"),
        ("plain", "id:base64"),
        (f"bad id:{GOOD_KEY}", "id:base64"),
        ("a:%%%", "not base64"),
        ("a:c2hvcnQ=", "5 bytes"),
        (f"a:{GOOD_KEY},a:{GOOD_KEY}", "twice"),
    ],
)
def test_bad_keys_are_refused_without_showing_them(monkeypatch: pytest.MonkeyPatch, value: str, fault: str) -> None:
    monkeypatch.setenv("KEYS", value)
    env = Environment()
    env.named_keys("KEYS")
    with pytest.raises(EnvironmentFault, match=fault) as caught:
        env.seal()
    assert GOOD_KEY not in str(caught.value)


def test_several_keys_are_read_in_order_and_a_key_hides_its_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYS", f"new:{GOOD_KEY}, old:{GOOD_KEY}")
    keys = Environment().named_keys("KEYS")
    assert keys == (NamedKey("new", b"k" * 32), NamedKey("old", b"k" * 32))
    assert "kkk" not in repr(keys)


@pytest.mark.parametrize(
    "value", ["auth:8001", "ftp://auth", "http://auth/path", "http://auth:no", "http://u@auth", ""]
)
def test_an_address_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("AUTH_URL", value)
    env = Environment()
    env.base_url("AUTH_URL")
    with pytest.raises(EnvironmentFault, match="AUTH_URL"):
        env.seal()


def test_a_database_address_is_taken_apart_and_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://au%40th:p%2Fw@db:6543/auth")
    assert Environment().postgres_url("DATABASE_URL") == {
        "NAME": "auth",
        "USER": "au@th",
        "PASSWORD": "p/w",
        "HOST": "db",
        "PORT": "6543",
    }


@pytest.mark.parametrize("value", ["mysql://db/auth", "postgres://db", "postgres://db/", "postgres://db/a/b", "db"])
def test_a_database_address_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("DATABASE_URL", value)
    env = Environment()
    env.postgres_url("DATABASE_URL")
    with pytest.raises(EnvironmentFault, match="DATABASE_URL"):
        env.seal()
