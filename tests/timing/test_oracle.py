"""Whether an account exists is not to be read from a clock: the same time, and the same body.

At least TRIES attempts of each kind, in pairs whose order is drawn. A two-sample test at ALPHA looks for a shift; it
counts only if it would have found one of SHIFT milliseconds with a probability of POWER, worked out from the spread of
the same measurements. On a noisy machine more is measured until that is so. The decision to go on looks at the spread
alone and never at the difference, and the test is made once: going on does not make it easier to pass. A true
equality still fails one time in a hundred; whoever sees that runs `make test-timing` again and believes two failures.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from statistics import median

import pytest

from tests import running
from tests.timing.calls import Answer, Auth, new_address, new_email
from tests.timing.statistics import p_value, power, without_drift

TRIES, MOST_TRIES, BATCH = 500, 3000, 250  # of each kind
ALPHA = 0.01
SHIFT = 5.0  # ms
POWER = 0.9
ACCOUNTS = 60  # so that none of them has 100 failures in an hour

Try = Callable[[], Answer]


@pytest.fixture(scope="module")
def auth() -> Auth:
    return Auth()


@pytest.fixture(scope="module")
def known(auth: Auth) -> list[str]:
    emails = [new_email() for _ in range(ACCOUNTS)]
    assert [auth.register(email).status for email in emails] == [201] * ACCOUNTS
    return emails


@pytest.fixture(scope="module")
def unknown() -> list[str]:
    return [new_email() for _ in range(ACCOUNTS)]


def compare(first: Try, second: Try) -> tuple[list[Answer], list[Answer]]:
    """Measures both, says what came of it, and asserts that no shift is found by a test that would find one."""
    answers: tuple[list[Answer], list[Answer]] = ([], [])
    for _ in range(10):
        first(), second()
    while True:
        for _ in range(BATCH if answers[0] else TRIES):
            for which in (0, 1) if secrets.randbits(1) else (1, 0):
                answers[which].append((first, second)[which]())
        times = [[answer.milliseconds for answer in kind] for kind in answers]
        samples = without_drift(*times)
        found = power(*samples, shift=SHIFT, alpha=ALPHA, rounds=400, seed=len(times[0]))
        if found >= POWER or len(times[0]) >= MOST_TRIES:
            break
    probability = p_value(*samples)
    medians = [median(kind) for kind in times]
    print(
        f"\n{len(times[0])} of each: medians {medians[0]:.2f} and {medians[1]:.2f} ms, "
        f"p = {probability:.3f}, power for {SHIFT:g} ms {found:.3f}"
    )
    assert found >= POWER, f"void: too noisy to see {SHIFT:g} ms after {len(times[0])} tries"
    assert probability >= ALPHA, "the two take different times"
    return answers


def test_a_wrong_password_takes_as_long_as_an_unknown_address(auth: Auth, known: list[str], unknown: list[str]) -> None:
    wrong, nobody = compare(
        lambda: auth.sign_in(secrets.choice(known), new_address()),
        lambda: auth.sign_in(secrets.choice(unknown), new_address()),
    )

    assert {answer.status for answer in (*wrong, *nobody)} == {401}
    assert all((answer.body, answer.headers) == (wrong[0].body, wrong[0].headers) for answer in (*wrong, *nobody))


def test_a_locked_account_takes_as_long_as_a_locked_address_that_nobody_has(auth: Auth) -> None:
    emails, address = [new_email(), new_email()], new_address()
    auth.register(emails[0])
    for email in emails:
        assert [auth.sign_in(email, address).status for _ in range(10)] == [401] * 10
    running.inside(
        "auth",
        "import datetime as dt; from auth.models import SignInFailure; from django.utils import timezone; "
        "SignInFailure.objects.filter(locked_until__isnull=False)"
        ".update(locked_until=timezone.now() + dt.timedelta(hours=1))",
    )

    taken, free = compare(lambda: auth.sign_in(emails[0], address), lambda: auth.sign_in(emails[1], address))

    assert {answer.status for answer in (*taken, *free)} == {429}
    assert all(answer.body == taken[0].body for answer in (*taken, *free))
    assert all(3000 <= int(answer.headers["Retry-After"]) <= 3600 for answer in (*taken, *free))


def test_registering_takes_as_long_when_the_address_is_taken(auth: Auth, known: list[str]) -> None:
    taken, new = compare(lambda: auth.register(secrets.choice(known)), lambda: auth.register(new_email()))

    assert {answer.status for answer in taken} == {409}
    assert {answer.status for answer in new} == {201}
