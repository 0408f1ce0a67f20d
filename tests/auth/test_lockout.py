"""Failed sign-ins: exact counts, back-off, and nobody locked out by a stranger."""

from __future__ import annotations

import datetime as dt
import threading
from typing import Any

import pytest
from django.db import connection
from django.db.models import F
from django.utils import timezone

from auth import accounts, emails, lockout, passwords
from auth.models import Account, AuditEvent, SignInFailure
from internal.problems import Problem, ProblemError
from tests.auth import calls

pytestmark = pytest.mark.django_db

STRANGER = "198.51.100.7"


def time_passes(elapsed: dt.timedelta) -> None:
    SignInFailure.objects.update(
        window_started_at=F("window_started_at") - elapsed, locked_until=F("locked_until") - elapsed
    )


def fail(times: int, **kwargs: Any) -> list[int]:
    return [calls.try_sign_in(password="wrong", **kwargs).status_code for _ in range(times)]


def test_after_ten_failures_even_the_right_password_waits(account: dict[str, Any]) -> None:
    assert fail(10) == [401] * 10

    response = calls.try_sign_in()

    assert calls.problem(response) == (429, "account_locked", [])
    assert 1 <= int(response["Retry-After"]) <= 30
    assert AuditEvent.objects.filter(what="sign_in_locked").count() == 1


def test_an_unknown_address_is_locked_in_the_same_way(account: dict[str, Any]) -> None:
    assert fail(11, email="nobody@example.org") == [401] * 10 + [429]


def test_the_spelling_of_an_email_address_makes_no_new_counter(account: dict[str, Any]) -> None:
    fail(5, email="ADA.LOVELACE@example.org")

    assert fail(6, email="ada.lovelace@EXAMPLE.org") == [401] * 5 + [429]


def test_each_failure_after_the_limit_doubles_the_wait_up_to_a_quarter_of_an_hour(account: dict[str, Any]) -> None:
    waits = []
    fail(9)
    for _ in range(7):
        assert fail(1) == [401]
        waits.append(int(calls.try_sign_in()["Retry-After"]))
        SignInFailure.objects.update(locked_until=timezone.now() - dt.timedelta(seconds=1))

    assert waits == [30, 60, 120, 240, 480, 900, 900]


def test_refused_attempts_do_not_keep_the_door_closed(account: dict[str, Any]) -> None:
    fail(10)
    assert fail(20) == [429] * 20
    time_passes(dt.timedelta(seconds=31))

    assert calls.try_sign_in().status_code == 200


def test_a_success_forgets_the_failures_before_it(account: dict[str, Any]) -> None:
    fail(9)
    assert calls.try_sign_in().status_code == 200

    assert fail(10) == [401] * 10


def test_failures_are_forgotten_after_the_window(account: dict[str, Any]) -> None:
    fail(9)
    time_passes(lockout.WINDOW)

    assert fail(10) == [401] * 10


def test_a_stranger_does_not_lock_out_the_person_at_another_address(account: dict[str, Any]) -> None:
    assert fail(11, address=STRANGER) == [401] * 10 + [429]

    assert calls.try_sign_in().status_code == 200


def test_strangers_everywhere_lock_the_account_but_not_for_places_where_the_person_was(
    grant: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lockout, "LIMIT_ACCOUNT", 5)
    strangers = [fail(1, address=f"198.51.100.{number}")[0] for number in range(7)]

    assert strangers == [401] * 5 + [429] * 2
    assert calls.try_sign_in(address="203.0.113.1").status_code == 429
    assert calls.try_sign_in(address=calls.ADDRESS).status_code == 200


def test_one_network_that_tries_many_accounts_is_locked(
    account: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lockout, "LIMIT_NETWORK", 5)
    tried = [fail(1, email=f"person{number}@example.org", address=STRANGER)[0] for number in range(7)]

    assert tried == [401] * 5 + [429] * 2
    assert calls.try_sign_in(address=STRANGER).status_code == 429
    assert calls.try_sign_in().status_code == 200


def test_successes_do_not_use_up_a_network(account: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lockout, "LIMIT_NETWORK", 3)

    assert [calls.try_sign_in().status_code for _ in range(6)] == [200] * 6


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.10", "192.0.2.10"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.10", "192.0.2.10"),
        ("", ""),
        (None, ""),
    ],
)
def test_an_address_is_counted_under_its_network(address: str | None, network: str) -> None:
    assert lockout.network_of(address) == network


def test_staff_lifts_a_lock_and_is_recorded(account: dict[str, Any]) -> None:
    fail(10)

    assert lockout.unlock(account=Account.objects.get(), staff_id="7") == 2

    assert calls.try_sign_in().status_code == 200
    assert AuditEvent.objects.get(what="sign_in_unlocked").details == {"staff": "7", "counters": 2}


def test_the_counters_do_not_know_the_email_address(account: dict[str, Any]) -> None:
    fail(1)

    assert "lovelace" not in str(list(SignInFailure.objects.values())).lower()


KNOWN = "0123456789abcdef"


def test_strangers_at_the_same_network_do_not_lock_the_person_out_of_a_known_device(
    account: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lockout, "LIMIT_NETWORK", 15)
    fail(10)
    fail(20, email="somebody@example.org")

    assert calls.try_sign_in().status_code == 429
    assert calls.try_sign_in(known_device=KNOWN).status_code == 200


def test_strangers_everywhere_do_not_lock_the_person_out_of_a_known_device(
    account: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lockout, "LIMIT_ACCOUNT", 5)
    for number in range(7):
        fail(1, address=f"198.51.100.{number}")

    assert calls.try_sign_in(address="203.0.113.1").status_code == 429
    assert calls.try_sign_in(address="203.0.113.1", known_device=KNOWN).status_code == 200


def test_a_known_device_has_a_limit_of_its_own_that_moves_no_other_counter(account: dict[str, Any]) -> None:
    assert fail(10, known_device=KNOWN) == [401] * 10

    one, every = SignInFailure.objects.order_by("-network")
    assert (one.failures, one.scope, KNOWN in one.network) == (10, "account and device", False)
    assert (every.failures, every.network) == (10, lockout.ALL_DEVICES)
    assert calls.try_sign_in(known_device="another").status_code == 200


def test_a_known_device_whose_limit_is_reached_is_judged_as_any_other(account: dict[str, Any]) -> None:
    fail(10, known_device=KNOWN)

    assert calls.try_sign_in(known_device=KNOWN).status_code == 200
    assert fail(12, known_device=KNOWN) == [401] * 10 + [429] * 2


def test_many_known_devices_together_have_a_limit(account: dict[str, Any]) -> None:
    """Whoever once had the email address, or knew the password, can have signed in on any number of devices."""
    for number in range(3):
        assert fail(10, known_device=f"device {number}") == [401] * 10
    elsewhere = "203.0.113.77"

    assert fail(12, known_device="device 4", address=elsewhere) == [401] * 10 + [429] * 2

    by_network = SignInFailure.objects.get(network=elsewhere, email_digest="")
    assert by_network.failures == 10


def test_a_success_on_a_known_device_forgets_its_failures(account: dict[str, Any]) -> None:
    fail(9, known_device=KNOWN)
    assert calls.try_sign_in(known_device=KNOWN).status_code == 200

    [of_all] = SignInFailure.objects.all()
    assert (of_all.network, of_all.failures) == (lockout.ALL_DEVICES, 9)


def test_an_address_in_its_ipv6_form_is_the_same_place(grant: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lockout, "LIMIT_ACCOUNT", 3)
    for number in range(4):
        fail(1, address=f"198.51.100.{number}")

    assert calls.try_sign_in(address=f"::ffff:{calls.ADDRESS}").status_code == 200


def test_a_place_is_known_by_its_network_of_ipv6(account: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    calls.sign_in(address="2001:db8:1:2::1")
    monkeypatch.setattr(lockout, "LIMIT_ACCOUNT", 3)
    for number in range(4):
        fail(1, address=f"198.51.100.{number}")

    assert calls.try_sign_in(address="2001:db8:1:3::1").status_code == 429
    assert calls.try_sign_in(address="2001:db8:1:2:aaaa::9").status_code == 200


def test_an_abandoned_attempt_takes_back_the_lock_that_it_caused(account: dict[str, Any]) -> None:
    fail(9)
    attempt = lockout.begin_attempt(email=calls.EMAIL, address=calls.ADDRESS)
    assert attempt.locks

    lockout.abandon(attempt)

    assert sorted(SignInFailure.objects.values_list("failures", "locked_until")) == [(9, None)] * 3
    assert calls.try_sign_in().status_code == 200


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("spread", ["one address", "an address each", "a known device"])
def test_parallel_wrong_passwords_never_get_more_tested_than_the_limit(
    monkeypatch: pytest.MonkeyPatch, spread: str
) -> None:
    calls.register()
    monkeypatch.setattr(lockout, "LIMIT_ACCOUNT", 10 if spread == "an address each" else 100)
    tested: list[str] = []
    statuses: list[int] = []

    def slow_and_wrong(password: str, password_hash: str | None, *, wait: float) -> bool:
        tested.append(password)
        return False

    monkeypatch.setattr(passwords, "matches", slow_and_wrong)
    ready = threading.Barrier(20)

    def attack(number: int) -> None:
        try:
            ready.wait()
            for again in range(10):
                origin: dict[str, Any] = {}
                if spread == "an address each":
                    origin = {"address": f"198.51.{number}.{again}"}
                elif spread == "a known device":
                    origin = {"known_device": KNOWN}
                statuses.append(calls.try_sign_in(password="wrong", **origin).status_code)
        finally:
            connection.close()

    threads = [threading.Thread(target=attack, args=[number]) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    limit = lockout.LIMIT_ACCOUNT_AND_NETWORK + (lockout.LIMIT_KNOWN_DEVICE if spread == "a known device" else 0)
    assert len(tested) == limit
    assert sorted(set(statuses)) in ([401, 429], [401, 429, 503])
    assert statuses.count(401) == limit
    exact = SignInFailure.objects.exclude(network__startswith="198.51.").values_list("failures", flat=True)
    assert list(exact) == {"one address": [10] * 3, "an address each": [10], "a known device": [10] * 5}[spread]


def test_right_passwords_that_come_to_nothing_lock_nobody_out(
    account: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_late() -> None:
        raise ProblemError(Problem("deadline_exceeded", "Too late."))

    with monkeypatch.context() as slow:
        slow.setattr(accounts, "require_time_left", too_late)
        assert {calls.try_sign_in().status_code for _ in range(11)} == {503}

    assert not SignInFailure.objects.exists()
    assert calls.try_sign_in().status_code == 200


def test_what_staff_cleared_is_recorded(account: dict[str, Any]) -> None:
    fail(2)
    counters = list(SignInFailure.objects.values_list("pk", flat=True))

    assert lockout.clear(counter_ids=counters, staff_id="7") == 3

    details = AuditEvent.objects.get(what="sign_in_unlocked").details
    digest = emails.email_digest(calls.EMAIL)[:16]
    assert (details["staff"], details["counters"]) == ("7", 3)
    assert details["which"] == [f"- {calls.ADDRESS}", f"{digest} -", f"{digest} {calls.ADDRESS}"]
