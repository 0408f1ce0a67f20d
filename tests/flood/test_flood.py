"""Many sign-ins at the same moment, against the running system: answers in time, bounded memory, exact limits."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from ops.procfs import family
from tests import running
from tests.flood.crowd import Answer, SignIn, address, sign_in_all
from tests.watching import Watch, memory_of

CROWD = 200
DEADLINE = 3.0  # seconds, that the gateway promises
WAY = 0.5  # seconds for the way there and back, and for a client that has only a share of the cores
HASH_MEMORY = 19  # MiB
WORKERS, HASHES_OF_A_WORKER = 2, 2
SLACK = 24  # MiB for the stacks and buffers of 16 threads at work
LEFT_BEHIND = 4  # MiB, much less than one hash
WRONG = "not the right password 9"


@pytest.fixture(scope="module")
def auth_processes() -> list[int]:
    return family(running.status()["auth"]["pid"])


@pytest.fixture(scope="module")
def people() -> list[running.Person]:
    return [running.Person.new().register() for _ in range(8)]


@pytest.fixture(autouse=True)
def calm() -> Iterator[None]:
    """A moment of rest, so that no test suffers from the flood of the one before it."""
    yield
    time.sleep(1)


def crowd(people: list[running.Person]) -> list[SignIn]:
    """A third with the right password, a third with a wrong one, a third whom nobody knows."""
    attempts = []
    for number in range(CROWD):
        person = people[number % len(people)]
        kinds = [
            (person.email, person.password),
            (person.email, WRONG),
            (f"{secrets.token_hex(8)}@example.org", WRONG),
        ]
        attempts.append(SignIn(*kinds[number % 3], address(number)))
    return attempts


def liveness() -> float:
    """How long the slowest of two roles took to say that it is alive."""
    answers = [running.ask("GET", f"{running.management_url(role)}/livez", seconds=5) for role in ("auth", "gateway")]
    assert [answer.status for answer in answers] == [200, 200]
    return max(answer.seconds for answer in answers)


def wrong_passwords_tested(person: running.Person) -> int:
    """How many wrong passwords of an account were tested: each leaves an event."""
    code = (
        "from auth.models import AuditEvent; "
        f"print(AuditEvent.objects.filter(what='sign_in_failed', account_id='{person.id}').count())"
    )
    return int(running.inside("auth", code))


def test_a_crowd_gets_answers_in_time_within_bounded_memory(
    people: list[running.Person], auth_processes: list[int]
) -> None:
    attempts = crowd(people)
    before = memory_of(auth_processes)

    with (
        Watch(lambda: memory_of(auth_processes), every=0.02) as memory,
        Watch(liveness, every=0.1) as alive,
    ):
        answers = sign_in_all(running.url("gateway"), attempts)

    time.sleep(0.5)
    after = memory_of(auth_processes)
    peak = max(memory.seen)
    slowest = max(answer.seconds for answer in answers)
    statuses = Counter((answer.status, answer.code) for answer in answers)
    print(f"\n{dict(statuses)}; slowest {slowest:.2f} s; livez {max(alive.seen):.2f} s")
    print(f"PSS of auth: before {before:.0f}, peak {peak:.0f}, after {after:.0f} MiB")

    assert {status for status, _ in statuses} <= {200, 401, 429, 503}
    assert slowest <= DEADLINE + WAY
    for answer in answers:
        if answer.status in (429, 503):
            assert 1 <= int(answer.headers["Retry-After"]) <= 60, answer
    _nobody_got_what_is_not_theirs(attempts, answers, {person.email: person.password for person in people})
    assert statuses[(200, "")] >= 1
    assert peak <= before + WORKERS * HASHES_OF_A_WORKER * HASH_MEMORY + SLACK
    assert max(alive.seen) < 1


def test_one_crowd_after_another_leaves_no_memory_behind(
    people: list[running.Person], auth_processes: list[int]
) -> None:
    seen = []
    for _ in range(6):  # the first ones find threads that have never worked, and a pool without connections
        sign_in_all(running.url("gateway"), crowd(people))
        time.sleep(0.5)
        seen.append(memory_of(auth_processes))

    print(f"\nPSS of auth after each crowd: {', '.join(f'{memory:.0f}' for memory in seen)} MiB")
    assert max(seen[3:]) <= max(seen[:3]) + LEFT_BEHIND


def _nobody_got_what_is_not_theirs(attempts: list[SignIn], answers: list[Answer], passwords: dict[str, str]) -> None:
    for attempt, answer in zip(attempts, answers, strict=True):
        is_right = passwords.get(attempt.email) == attempt.password
        assert answer.status != (401 if is_right else 200), (attempt, answer)


def test_right_after_a_flood_people_sign_in_as_ever(people: list[running.Person]) -> None:
    sign_in_all(running.url("gateway"), crowd(people))

    started = time.monotonic()
    running.Person.sign_in(people[0])

    assert time.monotonic() - started < DEADLINE
    assert people[0].call("GET", "/profile").status == 200


def test_parallel_wrong_passwords_for_one_account_are_tested_ten_times_at_most() -> None:
    person = running.Person.new().register()

    answers = sign_in_all(
        running.url("gateway"), [SignIn(person.email, f"{WRONG} {number}", address(240)) for number in range(CROWD)]
    )

    refused = Counter((answer.status, answer.code) for answer in answers)
    print(f"\n{dict(refused)}; tested {wrong_passwords_tested(person)}")
    assert refused[(401, "invalid_credentials")] <= wrong_passwords_tested(person) <= 10
    assert refused[(429, "account_locked")] > 0
    assert all("Retry-After" in answer.headers for answer in answers if answer.status in (429, 503))


def test_a_forged_address_makes_no_new_counter() -> None:
    email = f"{secrets.token_hex(8)}@example.org"
    headers = ("X-Forwarded-For", "Forwarded", "X-Real-Ip", "True-Client-Ip", "X-Client-Address")

    statuses = [
        sign_in_all(
            running.url("gateway"),
            [
                SignIn(
                    email,
                    WRONG,
                    address(241),
                    tuple((name, f"203.0.113.{number}") for name in headers),
                )
            ],
        )[0].status
        for number in range(12)
    ]

    assert statuses == [401] * 10 + [429] * 2
