"""Contracts survive the way through JSON, and a wrong shape is an invalid reply."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any
from uuid import UUID

import pytest

from internal.contracts import Account, ImagePage, Session, SessionList, StoredImage
from internal.errors import InvalidReply

MOMENT = dt.datetime(2026, 11, 23, 12, 30, tzinfo=dt.UTC)
ACCOUNT = Account(UUID(int=1), "Ada", "ada@example.org", MOMENT, MOMENT, None)
IMAGE = StoredImage(
    UUID(int=2), "image/png", 10, 20, 300, False, MOMENT, True, "/uploads/2.png", "/uploads/a", "/uploads/c"
)
SESSION = Session(UUID(int=3), "Firefox", "192.0.2.1", MOMENT, MOMENT, MOMENT, True)


@pytest.mark.parametrize(
    "value",
    [ACCOUNT, IMAGE, SessionList((SESSION,)), SessionList(()), ImagePage((IMAGE,), "next", 7), ImagePage((), None, 0)],
    ids=lambda value: type(value).__name__,
)
def test_a_contract_comes_back_as_it_went(value: Any) -> None:
    assert type(value).from_json(json.loads(json.dumps(value.to_json()))) == value


def test_moments_are_written_in_utc_with_a_z() -> None:
    east = dt.timezone(dt.timedelta(hours=2))
    account = Account(UUID(int=1), "Ada", "a@b.example", dt.datetime(2026, 1, 1, 2, tzinfo=east), None, None)
    assert account.to_json()["created_at"] == "2026-01-01T00:00:00Z"


def test_members_that_are_not_known_are_passed_over() -> None:
    assert Account.from_json(ACCOUNT.to_json() | {"added_later": 1}) == ACCOUNT


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("id", "no uuid"),
        ("id", 5),
        ("name", None),
        ("name", 3),
        ("created_at", "yesterday"),
        ("created_at", "2026-01-01T00:00:00"),
        ("last_sign_in_at", 12),
    ],
)
def test_a_member_of_another_type_is_an_invalid_reply_that_names_it(member: str, value: object) -> None:
    with pytest.raises(InvalidReply, match=f"Account.{member}"):
        Account.from_json(ACCOUNT.to_json() | {member: value})


@pytest.mark.parametrize("value", [None, [], "text", {}, {"items": None}, {"items": [1]}])
def test_another_shape_is_an_invalid_reply(value: object) -> None:
    with pytest.raises(InvalidReply):
        SessionList.from_json(value)


def test_a_number_is_not_taken_for_a_truth_value() -> None:
    with pytest.raises(InvalidReply, match="animated"):
        StoredImage.from_json(IMAGE.to_json() | {"animated": 1})
