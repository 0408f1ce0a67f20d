"""Schemathesis against the running gateway: whatever is sent, the answer is one that the OpenAPI document promises.

Cases are drawn from the document, half of them valid by it and half not. Every third or so is then given values that
exist (the account's own email, image, session), so that a good share gets past authentication and validation; some
others lose their token, or carry a broken one. The draws follow from a fixed seed; SEAWALL_FUZZ_CASES asks for more.
"""

from __future__ import annotations

import math
import os
import random
import secrets
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.fuzz_api.world import World, from_new_address

CASES = max(2_000, int(os.environ.get("SEAWALL_FUZZ_CASES") or 2_400))
SEED = 20261123
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]
OPEN = {"register", "login", "refresh", "logout"}
COUNTS_FAILURES = {"login", "register", "changePassword", "changeProfile"}
OPERATIONS = [
    "register",
    "login",
    "refresh",
    "logout",
    "getProfile",
    "changeProfile",
    "closeAccount",
    "setProfileImage",
    "clearProfileImage",
    "changePassword",
    "listSessions",
    "endSession",
    "listImages",
    "uploadImage",
    "getImage",
    "deleteImage",
]


class Tally:
    """Which answers each operation gave."""

    def __init__(self) -> None:
        self.statuses: defaultdict[str, Counter[int]] = defaultdict(Counter)

    def sent(self) -> int:
        return sum(counter.total() for counter in self.statuses.values())

    def share(self, low: int, high: int) -> float:
        inside = sum(n for counter in self.statuses.values() for status, n in counter.items() if low <= status < high)
        return inside / max(1, self.sent())


@pytest.fixture(scope="module")
def gateway() -> str:
    return os.environ["SEAWALL_TEST_GATEWAY"].rstrip("/")


@pytest.fixture(scope="module")
def operations(gateway: str) -> dict[str, Any]:
    """The operations of the document that the gateway serves, by their operationId."""
    # Tokens are this test's business: Schemathesis must not make up Authorization headers.
    config = schemathesis.Config.from_dict({"generation": {"with-security-parameters": False}})
    schema = schemathesis.openapi.from_url(f"{gateway}/api/v1/schema", config=config)
    found = [result.ok() for result in schema.get_all_operations()]
    return {operation.definition.raw["operationId"]: operation for operation in found}


@pytest.fixture(scope="module")
def world(gateway: str) -> Iterator[World]:
    made = World(gateway)
    yield made
    made.client.close()


@pytest.fixture(scope="module")
def tally() -> Tally:
    return Tally()


def give_what_exists(name: str, case: Case[Any], world: World) -> None:
    """Replaces drawn values by some that exist, so that the call can succeed."""
    values: dict[str, Callable[[], Any]] = {
        "register": lambda: {
            "name": "Fuzz",
            "email": f"{secrets.token_hex(10)}@example.org",
            "password": secrets.token_urlsafe(12),
        },
        "login": lambda: {"email": world.email, "password": world.password},
        "refresh": lambda: {"refresh_token": world.refresh_token},
        "changePassword": lambda: {"current_password": world.password, "new_password": secrets.token_urlsafe(12)},
        "uploadImage": lambda: {"image": world.picture},
        "setProfileImage": lambda: (
            {"image_id": world.new_image()} if case.media_type == "application/json" else {"image": world.picture}
        ),
    }
    if name in values:
        case.body = values[name]()
    elif name == "endSession":
        case.path_parameters = {"session_id": world.other_session()}
    elif name in {"getImage", "deleteImage"}:
        case.path_parameters = {"image_id": world.new_image()}
    elif name == "listImages":
        case.query = {"limit": 1 + len(world.email) % 7}


def token_for(name: str, world: World, chance: random.Random) -> str | None:
    """The good token most of the time; closing accounts is dear, so there it is the other way round."""
    good = 0.1 if name == "closeAccount" else 0.85
    if chance.random() < good:
        return world.token
    return chance.choice([None, "", "nonsense", world.token[:-6], world.token + "A", world.refresh_token])


def keep_up(name: str, case: Case[Any], response: schemathesis.Response, world: World, *, signed_in: bool) -> None:
    """Follows what the call has done to the account, so that the next one finds it whole."""
    status = response.status_code
    if status == 429 or (name == "closeAccount" and status == 204):
        world.begin()
    elif name == "changePassword" and status == 204:
        assert isinstance(case.body, dict)
        world.password = str(case.body["new_password"])
    elif name == "refresh" and status == 200:
        grant = response.json()
        world.token, world.refresh_token = grant["access_token"], grant["refresh_token"]
    elif name == "changeProfile" and status == 200:
        world.email = str(response.json()["email"])
    elif signed_in and status == 401 and not world.still_signed_in():
        world.begin()


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", OPERATIONS)
def test_every_answer_is_one_that_the_document_promises(
    name: str, operations: dict[str, Any], world: World, tally: Tally
) -> None:
    operation = operations[name]
    label = f"{operation.method.upper()} {operation.path}"
    modes = [GenerationMode.POSITIVE]
    if operation.body or operation.query or operation.path_parameters:
        modes.append(GenerationMode.NEGATIVE)
    cases = st.one_of([operation.as_strategy(generation_mode=mode) for mode in modes])

    # The number decides what a case is given; it also tells cases apart where an operation takes no input at all.
    @seed(SEED)
    @settings(
        max_examples=math.ceil(CASES / len(OPERATIONS)),
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases, number=st.integers(0, 2**32))
    def send(case: Case[Any], number: int) -> None:
        chance = random.Random(number)  # noqa: S311 - draws test cases
        if chance.random() < 0.35:
            give_what_exists(name, case, world)
        token = None if name in OPEN else token_for(name, world, chance)
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        client = from_new_address() if name in COUNTS_FAILURES else world.client
        try:
            response = case.call(base_url=world.base, session=client, headers=headers, timeout=20)
        finally:
            if client is not world.client:
                client.close()
        tally.statuses[label][response.status_code] += 1
        case.validate_response(response, checks=CHECKS)
        keep_up(name, case, response, world, signed_in=token == world.token)

    send()

    succeeded = sum(n for status, n in tally.statuses[label].items() if 200 <= status < 300)
    assert succeeded > 0, f"{label} never succeeded: {tally.statuses[label]}"


def test_enough_was_sent_and_a_good_share_got_through(
    operations: dict[str, Any], tally: Tally, record_testsuite_property: Callable[[str, object], None]
) -> None:
    record_testsuite_property("figure", f"{tally.sent()} fuzzed calls, {tally.share(200, 300):.0%} of them succeeded")
    for label, counter in tally.statuses.items():
        print(f"{label:30}", ", ".join(f"{status}: {n}" for status, n in sorted(counter.items())))

    assert set(operations) == set(OPERATIONS)
    assert tally.sent() >= 2_000
    assert tally.share(200, 300) > 0.2
    assert tally.share(400, 500) > 0.2
    limited = sum(counter[429] for counter in tally.statuses.values())
    assert limited < tally.sent() / 20, "limits of attempts turned away too many of the cases"
