"""`manage.py signing_keys`: what an operator types, reads and gets as exit status."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from auth import key_rotation
from auth.models import SigningKey
from internal.keys import NamedKey
from tests.auth.clock import Clock, clock

__all__ = ["clock"]

pytestmark = pytest.mark.django_db


def run(*words: str) -> str:
    """What the command prints."""
    out = io.StringIO()
    call_command("signing_keys", *words, stdout=out)
    return out.getvalue()


def kid(state: str) -> str:
    return SigningKey.objects.get(state=state).kid


def test_every_step_says_what_it_did(clock: Clock) -> None:
    assert run("maintain") == f"{kid('active')} is active now.\n{kid('next')} is next now.\n"
    assert run("maintain") == "Nothing had to be done.\n"
    first = kid("active")

    clock.advance(seconds=60)
    assert run("rotate") == f"{first} is retiring now.\n{kid('active')} is active now.\n{kid('next')} is next now.\n"
    assert run("retire") == "Nothing had to be done.\n"
    clock.advance(seconds=610)
    assert run("retire") == f"{first} is retired now.\n"

    stolen = kid("active")
    assert run("revoke", stolen) == (
        f"{stolen} is retired now.\n{kid('active')} is active now.\n{kid('next')} is next now.\n"
    )


def test_what_would_reject_good_tokens_is_refused_and_done_with_now() -> None:
    run("maintain")
    first = kid("active")
    with pytest.raises(CommandError, match="has been published for 0 s") as refusal:
        run("rotate")
    assert refusal.value.returncode == 1

    run("rotate", "--now")
    with pytest.raises(CommandError, match="may be valid until"):
        run("retire", first)
    assert run("retire", first, "--now") == f"{first} is retired now.\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("revoke", "nobody"), "There is no signing key 'nobody'"),
        (("retire", "nobody"), "There is no signing key 'nobody'"),
        (("retire", "--now"), "needs the KID"),
        (("revoke",), "required: KID"),
        (("dance",), "invalid choice: 'dance'"),
        ((), "required: STEP"),
    ],
)
def test_a_wrong_call_is_refused_in_words(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        run(*words)


def test_the_list_shows_every_key_and_when_it_may_change(clock: Clock) -> None:
    assert run("list").split() == ["KEY", "STATE", "SINCE", "NEXT", "ENCRYPTED", "WITH"]
    run("maintain")
    run("rotate", "--now")
    run("retire", kid("retiring"), "--now")
    run("rotate", "--now")

    lines = run("list").splitlines()

    assert len(lines) == 5
    assert [line.split()[1] for line in lines[1:]] == ["next", "active", "retiring", "retired"]
    assert "may sign from" in lines[1]
    assert "due from" in lines[2]
    assert "retires from" in lines[3]
    assert lines[1].endswith("tests")
    assert lines[4].endswith("-")


def test_programs_get_the_list_as_json() -> None:
    run("maintain")
    key = SigningKey.objects.get(state="next")

    document = json.loads(run("list", "--json"))

    assert document["seconds"] == {"published": 60, "signing": 30 * 86400, "verifying": 610}
    assert document["encryption_keys"] == [{"id": "tests", "private_halves": 2}]
    assert document["keys"][0] == {
        "kid": key.kid,
        "state": "next",
        "created_at": key.created_at.isoformat(),
        "activated_at": None,
        "retiring_at": None,
        "retired_at": None,
        "changes_at": key_rotation.Times.of_settings().changes_at(key).isoformat(),
        "encryption_key_id": "tests",
    }
    assert "private" not in str(document["keys"])


def test_reencrypt_says_which_encryption_keys_may_be_dropped(settings: Any) -> None:
    old = settings.KEY_ENCRYPTION_KEYS[0]
    run("maintain")
    settings.KEY_ENCRYPTION_KEYS = (NamedKey("new", b"n" * 32), old)

    lines = run("reencrypt").splitlines()

    assert set(lines[:2]) == {f"{kid(state)} is encrypted with new now." for state in ("active", "next")}
    assert lines[2:] == ["new encrypts 2 private halves.", "tests is not in use: it may be dropped."]


def test_reencrypt_fails_where_a_private_half_cannot_be_read(settings: Any, capsys: pytest.CaptureFixture[str]) -> None:
    run("maintain")
    settings.KEY_ENCRYPTION_KEYS = (NamedKey("new", b"n" * 32),)

    with pytest.raises(CommandError, match="which KEY_ENCRYPTION_KEYS lacks") as failure:
        run("reencrypt")

    assert failure.value.returncode == 1
    assert set(SigningKey.objects.values_list("encryption_key_id", flat=True)) == {"tests"}
