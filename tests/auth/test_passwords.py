"""The rules for passwords and the hashing."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import pytest
from django.core.exceptions import ValidationError

from auth import passwords
from auth.hashers import unmatchable_hash

ADA = SimpleNamespace(name="Ada Lovelace", email="ada@example.org")


def test_a_weak_password_is_refused_with_a_hint() -> None:
    with pytest.raises(ValidationError) as refused:
        passwords.StrengthValidator().validate("abcabcabcabc", ADA)

    [message] = refused.value.messages
    assert message == (
        'This password is too weak. Repeats like "abcabcabc" are only slightly harder to guess than "abc". '
        "Add another word or two. Uncommon words are better. Avoid repeated words and characters."
    )


def test_the_own_name_makes_a_password_weaker() -> None:
    strict = passwords.StrengthValidator(least_strength=4)
    strict.validate("lovelaceada1815")

    with pytest.raises(ValidationError):
        strict.validate("lovelaceada1815", ADA)


def test_a_very_long_input_is_refused_at_once() -> None:
    started = time.perf_counter()

    with pytest.raises(ValidationError) as refused:
        passwords.validate("a" * 60_000, account=SimpleNamespace(name="a", email="a@example.org"))

    assert [error.code for error in refused.value.error_list] == ["password_too_long"]
    assert time.perf_counter() - started < 0.5


def test_no_password_keeps_zxcvbn_busy_for_long() -> None:
    worst = ("4@8({[<3€69&#!1/|0$5+7%2" * 10)[: passwords.MAX_LENGTH]
    started = time.process_time()

    passwords.StrengthValidator(least_strength=5 - 1).validate(worst, ADA)
    with pytest.raises(ValidationError):
        passwords.StrengthValidator(least_strength=5).validate(worst, ADA)

    assert time.process_time() - started < 0.5


def test_a_long_password_is_as_strong_as_its_strongest_stretch() -> None:
    passwords.StrengthValidator().validate("a" * 40 + "kV9wqz-TjLpxRb mGhYd", ADA)

    with pytest.raises(ValidationError):
        passwords.StrengthValidator().validate("a" * 60, ADA)


def test_a_hash_matches_its_password_and_no_other() -> None:
    password_hash = passwords.hash_password("lantern-orchid-mosaic")

    assert passwords.matches("lantern-orchid-mosaic", password_hash)
    assert not passwords.matches("lantern-orchid-mosaic ", password_hash)
    assert not passwords.matches("lantern-orchid-mosaic", None)


def test_nobodys_hash_is_one_that_the_hasher_reads() -> None:
    hasher = passwords.hashers.get_hasher()
    decoded = hasher.decode(unmatchable_hash())

    assert (decoded["memory_cost"], decoded["time_cost"], decoded["parallelism"]) == (19_456, 2, 1)
    assert decoded["variety"] == "argon2id"


def test_so_many_passwords_are_hashed_at_once_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_turns", threading.BoundedSemaphore(2))
    at_once = 0
    most = 0
    lock = threading.Lock()

    def slow(password: str, encoded: str) -> bool:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        time.sleep(0.02)
        with lock:
            at_once -= 1
        return True

    monkeypatch.setattr(passwords.hashers, "check_password", slow)
    threads = [threading.Thread(target=passwords.matches, args=["x", "y"]) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert most == 2


def test_a_turn_that_does_not_come_is_given_up() -> None:
    taken = [passwords._turns.acquire() for _ in range(passwords.PARALLEL_HASHES)]
    try:
        with pytest.raises(passwords.HashingBusy):
            passwords.matches("x", None, wait=0.01)
    finally:
        for _ in taken:
            passwords._turns.release()
