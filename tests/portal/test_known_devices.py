"""The cookie that keeps strangers from locking a person out of a device that is known."""

from __future__ import annotations

import pytest
from django.test import Client, override_settings

from internal.problems import Problem
from portal import known_devices
from tests.portal.fakes import FakeAuth

ANNA = {"email": "anna@example.org", "password": "seven green boats"}
EVE = {"email": "eve@example.org", "password": "seven green boats"}


def vouched(auth: FakeAuth) -> list[str]:
    """Which device each sign-in was vouched for, empty for none."""
    return [call.get("known_device", "") for call in auth.called("sign_in")]


def test_a_device_is_known_after_a_sign_in_and_only_for_that_person(visitor: Client, auth: FakeAuth) -> None:
    visitor.post("/sign-in", ANNA)
    visitor.post("/sign-out")
    visitor.post("/sign-in", {**ANNA, "email": " ANNA@example.org"})
    visitor.post("/sign-out")
    visitor.post("/sign-in", EVE)

    first, again, eve = vouched(auth)
    assert (first, len(again), eve) == ("", 32, "")


def test_people_who_share_a_device_are_all_known_there_the_last_five(visitor: Client, auth: FakeAuth) -> None:
    people = [f"person{number}@example.org" for number in range(6)]
    for email in [*people, *reversed(people)]:
        visitor.post("/sign-in", {**ANNA, "email": email})
        visitor.post("/sign-out")

    names = vouched(auth)[6:]
    assert len(set(names[:5])) == 1
    assert (len(names[0]), names[5]) == (32, "")


def test_registration_makes_the_device_known(visitor: Client, auth: FakeAuth) -> None:
    visitor.post("/register", {"name": "Anna Berg", **ANNA})
    visitor.post("/sign-out")
    visitor.post("/sign-in", ANNA)

    assert [bool(name) for name in vouched(auth)] == [False, True]


def test_a_refused_sign_in_makes_nothing_known(visitor: Client, auth: FakeAuth) -> None:
    auth.rejects("sign_in", Problem("invalid_credentials", "No."))

    assert known_devices.cookie_name() not in visitor.post("/sign-in", ANNA).cookies


@pytest.mark.parametrize("forge", [lambda value: value[:-1] + "0", lambda value: "0" * 32 + value[32:], lambda _: "x"])
def test_a_forged_cookie_makes_no_device_known(visitor: Client, auth: FakeAuth, forge: object) -> None:
    value = visitor.post("/sign-in", ANNA).cookies["device"].value
    visitor.post("/sign-out")
    visitor.cookies["device"] = forge(value.replace("0", "1") if value.endswith("0") else value)  # type: ignore[operator]
    visitor.post("/sign-in", ANNA)

    assert vouched(auth) == ["", ""]


def test_the_cookie_is_for_this_host_and_no_script(visitor: Client, auth: FakeAuth) -> None:
    cookie = visitor.post("/sign-in", ANNA).cookies["device"]

    assert (cookie["httponly"], cookie["samesite"], cookie["path"], cookie["domain"]) == (True, "Lax", "/", "")
    assert ANNA["email"] not in cookie.value
    with override_settings(HTTPS_ONLY=True):
        assert known_devices.cookie_name() == "__Host-device"


@pytest.mark.parametrize(("proxies", "address"), [(0, "127.0.0.1"), (1, "198.51.100.9"), (2, "203.0.113.7")])
def test_a_forged_forwarded_for_changes_nothing(visitor: Client, auth: FakeAuth, proxies: int, address: str) -> None:
    genuine = "203.0.113.7, 198.51.100.9"
    with override_settings(TRUSTED_PROXY_COUNT=proxies):
        for forged in ("", "1.2.3.4, ", "1.2.3.4, 5.6.7.8, 9.9.9.9, "):
            visitor.post("/sign-in", ANNA, headers={"X-Forwarded-For": forged + genuine})
            visitor.post("/sign-out")

    assert [call["address"] for call in auth.called("sign_in")] == [address] * 3
