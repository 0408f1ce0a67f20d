"""Service keys change by rolling restarts, under load: real processes, and no signed call refused.

The wrong order is played as well, so that it is known that a refused call would be noticed. With `-- -s` the figures
are shown.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from pathlib import Path

import pytest

from internal import signing
from internal.keys import NamedKey
from tests.rotation.rolling import Fleet, SignedLoad
from tests.running import ask, picture, until

OLD, NEW = (f"{name}:{base64.b64encode(secrets.token_bytes(32)).decode()}" for name in ("old", "new"))
REQUIRED_RATE = 20  # signed calls a second
REQUIRED_CALLS = 150  # signed calls in each phase after its replacements; those meanwhile come on top
REQUIRED_REGISTRATIONS = 5  # among them; only these call images
SECONDS = 60  # for these calls

# The order of an operator: who verifies learns the new key before the gateway signs with it, and forgets the old one
# after that.
PHASES: dict[str, list[tuple[str, tuple[str, ...]]]] = {
    "all know the old key": [],
    "auth and images accept both": [("auth", (OLD, NEW)), ("images", (OLD, NEW))],
    "the gateway signs with the new key": [("gateway", (NEW, OLD))],
    "auth and images accept the new key": [("auth", (NEW,)), ("images", (NEW,))],
    "the gateway knows the new key alone": [("gateway", (NEW,))],
}

SIGNED = {
    "auth": ("/internal/v1/sessions/revoke", "application/json", b'{"refresh_token": "of nobody"}'),
    "images": ("/internal/v1/validate", "application/octet-stream", picture(16, 16)),
}
LET_IN = {"auth": {(204, "")}, "images": {(204, "")}}
REFUSED = {"auth": {(401, "invalid_signature")}, "images": {(401, "invalid_signature")}}


def by_hand(fleet: Fleet, key: str) -> dict[str, set[tuple[int, str]]]:
    """How the processes of auth and images, asked directly, answer a good call signed with a key: four times each."""
    return {role: {send(fleet, role, key) for _ in range(4)} for role in SIGNED}


def send(fleet: Fleet, role: str, key: str) -> tuple[int, str]:
    """The status with which a role answers one signed call, and the code of the problem if it is one."""
    path, kind, body = SIGNED[role]
    name, _, encoded = key.partition(":")
    digest = hashlib.sha256(body).hexdigest()
    headers = signing.sign([NamedKey(name, base64.b64decode(encoded))], method="POST", path=path, body_digest=digest)
    answer = ask("POST", fleet.current[role].url + path, body=body, headers=headers | {"Content-Type": kind})
    return answer.status, answer.json["code"] if answer.status >= 400 else ""


def go_on_calling(load: SignedLoad) -> None:
    """Waits for so many calls more, of every kind, that a refusal would show; or for the first one that failed."""
    before = {call: load.count(call=call) for call in ("refresh", "login", "register")}
    signed = load.signed_calls()

    def enough() -> bool:
        return (
            load.signed_calls() - signed >= REQUIRED_CALLS
            and load.count(call="register") - before["register"] >= REQUIRED_REGISTRATIONS
            and all(load.count(call=call) > count for call, count in before.items())
        )

    until(lambda: load.failures or enough(), f"{REQUIRED_CALLS} signed calls", SECONDS)


@pytest.mark.timeout(600)
def test_service_keys_rotate_by_rolling_restarts_and_no_signed_call_is_refused(tmp_path: Path) -> None:
    with Fleet.running(tmp_path, {"gateway": (OLD,), "auth": (OLD,), "images": (OLD,)}) as fleet:
        assert by_hand(fleet, OLD) == LET_IN
        assert by_hand(fleet, NEW) == REFUSED
        refused_by_hand = fleet.refused_signatures()

        with SignedLoad(fleet.gateway).running() as load:
            for phase, replacements in PHASES.items():
                load.phase = phase
                for role, keys in replacements:
                    fleet.replace(role, keys)
                go_on_calling(load)

        assert load.failures == []
        assert fleet.refused_signatures() == refused_by_hand
        assert min(load.signed_calls(phase) for phase in PHASES) >= REQUIRED_CALLS

        assert by_hand(fleet, OLD) == REFUSED
        assert by_hand(fleet, NEW) == LET_IN

    assert load.signed_calls() / load.seconds >= REQUIRED_RATE
    for phase in PHASES:
        print(f"{phase}: {load.signed_calls(phase)} signed calls")
    print(f"{load.signed_calls()} signed calls, {load.signed_calls() / load.seconds:.0f}/s; failures: 0")


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("forgotten", "hit"),
    [("auth", {("refresh", 503), ("login", 503), ("register", 503)}), ("images", {("register", 201)})],
)
def test_a_gateway_that_signs_with_a_key_before_a_role_knows_it_is_noticed(
    forgotten: str, hit: set[tuple[str, int]], tmp_path: Path
) -> None:
    keys = {"gateway": (OLD,), "auth": (OLD, NEW), "images": (OLD, NEW)} | {forgotten: (OLD,)}
    with Fleet.running(tmp_path, keys) as fleet:
        with SignedLoad(fleet.gateway).running() as load:
            go_on_calling(load)
            assert load.failures == []
            load.phase = "the gateway signs with the new key"
            fleet.replace("gateway", (NEW, OLD))
            until(lambda: {(one.call, one.status) for one in load.failures} >= hit, "refused calls", SECONDS)

        assert {(one.call, one.status) for one in load.failures} == hit
        assert set(fleet.refused_signatures()) == {forgotten}
    print(f"without {forgotten}: {len(load.failures)} failures, {fleet.refused_signatures()[forgotten]} refusals")
