"""Signing keys change under load, are stolen, and auth goes away: real processes, and no token judged wrongly.

`make test-rotation` runs this with the shortest lives that the settings allow for tokens and keys, and with
ARGS=rotation-default with those of production as well. Verifiers work alike in both. With `-- -s` the figures are
shown.
"""

from __future__ import annotations

import datetime as dt
import json
import time
from typing import Any

import pytest

from internal.tokens import KEY_SET_SECONDS
from tests.rotation.load import Load, Token, part_of
from tests.running import Person, ask, inside, manage, until, url

GATEWAY = "/api/v1/images?limit=1"
IMAGES = "/internal/v1/images?limit=1"
REQUIRED_RATE = 50  # calls a second


def keys() -> dict[str, dict[str, Any]]:
    """What `signing_keys list` says, by state; of the retired keys any one."""
    return {key["state"]: key for key in json.loads(done("list", "--json"))["keys"]}


def done(*words: str) -> str:
    """The output of a step of `signing_keys` that must succeed."""
    finished = manage("signing_keys", *words)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def wait_for_change_of(key: dict[str, Any]) -> None:
    """Sleeps until the key may go to its next state."""
    moment = dt.datetime.fromisoformat(key["changes_at"])
    time.sleep(max(0.0, (moment - dt.datetime.now(dt.UTC)).total_seconds()) + 0.1)


def long_lived_token(person: Person) -> str:
    """A token of the key that signs now, good for an hour: what a thief of the key, but nobody else, could have."""
    claims = part_of(person.access_token, 1)
    code = (
        "import json; from uuid import UUID; from django.utils import timezone; from auth import signing_keys;"
        f"ids = dict(account_id=UUID('{claims['sub']}'), session_id=UUID('{claims['sid']}'));"
        "print(json.dumps(signing_keys.issue_access_token(**ids, now=timezone.now(), lifetime=3600)))"
    )
    token: str = inside("auth", code)
    return token


def statuses(token: str) -> set[tuple[int, str]]:
    """How the gateway and images, asked directly, answer a token: ten times each, so that every worker is asked."""
    answers = [
        ask("GET", address, token=token)
        for address in (url("gateway") + GATEWAY, url("images") + IMAGES, url("gateway") + "/api/v1/profile")
        for _ in range(10)
    ]
    return {(answer.status, answer.json.get("code", "")) for answer in answers}


def moment_of_refusal(token: str) -> dt.datetime:
    """When every verifier refuses the token as invalid, not as expired; within KEY_SET_SECONDS from now."""
    until(lambda: statuses(token) == {(401, "invalid_token")}, "the token is refused", KEY_SET_SECONDS)
    return dt.datetime.now(dt.UTC)


def withdrawn_at(kid: str) -> dt.datetime:
    """When auth stopped to publish a key."""
    [key] = [key for key in json.loads(done("list", "--json"))["keys"] if key["kid"] == kid]
    return dt.datetime.fromisoformat(key["retired_at"])


@pytest.fixture
def person() -> Person:
    return Person.new().register().sign_in()


def test_a_rotation_under_load_refuses_no_valid_token_and_then_every_one_of_the_old_key(person: Person) -> None:
    done("maintain")
    before = keys()
    too_early = manage("signing_keys", "rotate")
    assert (too_early.returncode, "verifiers may not know it yet" in too_early.stderr) == (1, True)

    with Load().running() as load:
        of_old_key = long_lived_token(person)
        wait_for_change_of(before["next"])
        done("rotate")
        after = keys()
        assert (after["retiring"]["kid"], after["active"]["kid"]) == (before["active"]["kid"], before["next"]["kid"])
        until(lambda: all(one.tokens[-1].kid == after["active"]["kid"] for one in load.people), "new tokens", 300)
        assert statuses(of_old_key) == {(200, "")}

        wait_for_change_of(after["retiring"])
        assert statuses(of_old_key) == {(200, "")}
        done("maintain")
        refused_at = moment_of_refusal(of_old_key)
        time.sleep(1)

    assert load.refusals == []
    assert set(load.renewals) == {200}
    assert load.rate >= REQUIRED_RATE
    seconds = (refused_at - withdrawn_at(before["active"]["kid"])).total_seconds()
    print(f"{load.answered} calls, {load.rate:.0f}/s; the retired key was refused everywhere after {seconds:.1f} s")


def test_a_revoked_key_is_refused_everywhere_within_the_bound_and_sessions_go_on(person: Person) -> None:
    done("maintain")
    before = keys()
    wait_for_change_of(before["next"])
    stolen = before["active"]["kid"]
    forged = long_lived_token(person)
    assert statuses(forged) == {(200, "")}

    with Load().running() as load:
        done("revoke", stolen)
        refused_at = moment_of_refusal(forged)
        until(lambda: all(one.tokens[-1].kid != stolen for one in load.people), "new tokens", 300)
        time.sleep(1)

    affected = {(refusal.kid, refusal.status) for refusal in load.refusals}
    assert affected <= {(stolen, 401)}
    assert set(load.renewals) == {200}
    seconds = (refused_at - withdrawn_at(stolen)).total_seconds()
    assert seconds <= KEY_SET_SECONDS
    print(f"the revoked key was refused everywhere after {seconds:.1f} s; calls that it hit: {len(load.refusals)}")


def test_while_auth_is_down_tokens_are_verified_until_they_end(person: Person) -> None:
    long_lived = long_lived_token(person)
    with Load(paths=("/images?limit=1",), renewing=False).running() as load:
        for somebody in load.people:
            somebody.renew()
        assert manage("stop", "auth").returncode == 0
        try:
            assert ask("GET", url("gateway") + GATEWAY, token=f"{long_lived[:-8]}AAAAAAAA").status == 401
            time.sleep(max(0.0, min(20, max(s.tokens[-1].expires_at for s in load.people) - time.time())))
            answered = load.answered
            # A process that starts now has nothing but the key set on disk.
            assert manage("restart", "images").returncode == 0
            assert ask("GET", url("images") + IMAGES, token=long_lived).status == 200
        finally:
            assert manage("start", "auth").returncode == 0

    assert answered > 100
    assert [refusal for refusal in load.refusals if refusal.status == 401] == []
    token = Token.of(person.sign_in().access_token)
    assert ask("GET", url("gateway") + GATEWAY, token=token.value).status == 200
