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
from tests.running import Person, ask, picture, until

OLD, NEW = (f"{name}:{base64.b64encode(secrets.token_bytes(32)).decode()}" for name in ("old", "new"))
REQUIRED_RATE = 20  # signed calls a second
REQUIRED_CALLS = 200  # signed calls in each phase
REQUIRED_REGISTRATIONS = 5  # in each phase; the only ones that call images
SECONDS = 60  # for the calls of a phase, when its replacements are done

# The order of an operator: who verifies learns the new key before the gateway signs with it, and forgets the old one
# after that.
PHASES: dict[str, list[tuple[str, tuple[str, ...]]]] = {
    "all know the old key": [],
    "auth and images accept both": [("auth", (OLD, NEW)), ("images", (OLD, NEW))],
    "the gateway signs with the new key": [("gateway", (NEW, OLD))],
    "auth and images accept the new key": [("auth", (NEW,)), ("images", (NEW,))],
    "the gateway knows the new key alone": [("gateway", (NEW,))],
}

REFUSED = (401, "invalid_signature")


def by_hand(fleet: Fleet, key: str) -> dict[str, set[tuple[int, str]]]:
    """How auth and images, asked directly, answer good calls signed with a key: four times each, for every worker."""
    return {
        "auth": {refresh(fleet, key) for _ in range(4)},
        "images": {
            send(fleet, key, "images", "/internal/v1/validate", picture(16, 16), "application/octet-stream")
            for _ in range(4)
        },
    }


def refresh(fleet: Fleet, key: str) -> tuple[int, str]:
    body = f'{{"refresh_token": "{Person.new().register().sign_in().refresh_token}", "device": "", "address": "::1"}}'
    return send(fleet, key, "auth", "/internal/v1/sessions/refresh", body.encode(), "application/json")


def send(fleet: Fleet, key: str, role: str, path: str, body: bytes, kind: str) -> tuple[int, str]:
    """One signed call to the current process of a role: the status, and the code of the problem if it is one."""
    name, _, encoded = key.partition(":")
    named = NamedKey(name, base64.b64decode(encoded))
    headers = signing.sign([named], method="POST", path=path, body_digest=hashlib.sha256(body).hexdigest())
    answer = ask("POST", fleet.current[role].url + path, body=body, headers=headers | {"Content-Type": kind})
    return answer.status, answer.json["code"] if answer.status >= 400 else ""


def enough(load: SignedLoad, phase: str) -> bool:
    """Whether the phase has had its calls."""
    return (
        load.signed_calls(phase) >= REQUIRED_CALLS
        and load.count(call="register", phase=phase) >= REQUIRED_REGISTRATIONS
        and load.count(call="login", phase=phase) > 0
    )


@pytest.mark.timeout(600)
def test_service_keys_rotate_by_rolling_restarts_and_no_signed_call_is_refused(tmp_path: Path) -> None:
    with Fleet.running(tmp_path, {"gateway": (OLD,), "auth": (OLD,), "images": (OLD,)}) as fleet:
        answers = by_hand(fleet, OLD)
        let_in = {"auth": {(200, "")}, "images": answers["images"]}
        assert answers == let_in
        assert len(let_in["images"]) == 1
        assert all(status < 300 for status, _ in let_in["images"])
        assert by_hand(fleet, NEW) == {"auth": {REFUSED}, "images": {REFUSED}}
        refused_by_hand = fleet.refused_signatures()

        with SignedLoad(fleet.gateway).running() as load:
            for phase, replacements in PHASES.items():
                load.phase = phase
                for role, keys in replacements:
                    fleet.replace(role, keys)
                until(lambda phase=phase: enough(load, phase) or load.failures, f"calls while {phase}", SECONDS)  # type: ignore[misc]

        assert load.failures == []
        assert fleet.refused_signatures() == refused_by_hand
        assert all(enough(load, phase) for phase in PHASES)
        assert load.signed_calls() / load.seconds >= REQUIRED_RATE

        assert by_hand(fleet, OLD) == {"auth": {REFUSED}, "images": {REFUSED}}
        assert by_hand(fleet, NEW) == let_in

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
            until(lambda: enough(load, "before"), "calls while the gateway signs with the old key", SECONDS)
            assert load.failures == []
            fleet.replace("gateway", (NEW, OLD))
            load.phase = "after"
            until(lambda: {(one.call, one.status) for one in load.failures} >= hit, "refused calls", SECONDS)

        assert {(one.call, one.status) for one in load.failures} == hit
        assert set(fleet.refused_signatures()) == {forgotten}
    print(f"without {forgotten}: {len(load.failures)} failures, {fleet.refused_signatures()[forgotten]} refusals")
