"""GET sessions and DELETE sessions/<id>."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from auth import sessions
from auth.models import Account, AuditEvent, Session
from tests.auth import calls

pytestmark = pytest.mark.django_db


def iso(moment: dt.datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def listed(grant: dict[str, Any]) -> list[dict[str, Any]]:
    response = calls.personal("GET", "sessions", grant["access_token"])
    assert response.status_code == 200, response.content
    return json.loads(response.content)["items"]


def test_the_list_shows_where_one_is_signed_in_the_last_used_first(
    grant: dict[str, Any], other: dict[str, Any]
) -> None:
    newer = calls.sign_in(address="2001:db8::7")
    ended = calls.sign_in()
    calls.signed("sessions/revoke", {"refresh_token": ended["refresh_token"]})
    run_out = calls.session_id(calls.sign_in())
    Session.objects.filter(pk=run_out).update(expires_at=timezone.now())

    expected = []
    for session_id, address, current in [
        (calls.session_id(newer), "2001:db8::7", False),
        (calls.session_id(grant), calls.ADDRESS, True),
    ]:
        session = Session.objects.get(pk=session_id)
        expected.append(
            {
                "id": str(session_id),
                "device": calls.DEVICE,
                "address": address,
                "created_at": iso(session.created_at),
                "last_used_at": iso(session.last_used_at),
                "expires_at": iso(session.expires_at),
                "current": current,
            }
        )
    assert listed(grant) == expected


def queries_of_list(grant: dict[str, Any]) -> int:
    with CaptureQueriesContext(
        connection,
    ) as captured:
        listed(grant)
    return len(captured)


def test_the_list_takes_three_queries_for_one_session_and_for_many(grant: dict[str, Any]) -> None:
    at_one = queries_of_list(grant)
    now = timezone.now()
    for _ in range(30):
        sessions.start(account=Account.objects.get(), device="", address=None, now=now)

    assert (at_one, queries_of_list(grant), len(listed(grant))) == (3, 3, 31)


def test_a_session_is_ended_from_elsewhere_and_once_more_does_no_harm(grant: dict[str, Any]) -> None:
    elsewhere = calls.sign_in()
    path = f"sessions/{calls.session_id(elsewhere)}"

    responses = [calls.personal("DELETE", path, grant["access_token"]) for _ in range(2)]

    assert [(response.status_code, response.content) for response in responses] == [(204, b"")] * 2
    assert [item["id"] for item in listed(grant)] == [str(calls.session_id(grant))]
    assert calls.refresh(elsewhere["refresh_token"]).status_code == 401
    events = AuditEvent.objects.filter(what="session_ended")
    assert [(event.session_id, event.details) for event in events] == [
        (calls.session_id(elsewhere), {"reason": "ended_by_owner"})
    ]


@pytest.mark.parametrize("whose", ["another person's", "nobody's"])
def test_only_an_own_session_can_be_ended(grant: dict[str, Any], other: dict[str, Any], whose: str) -> None:
    target = calls.session_id(other) if whose == "another person's" else "00000000-0000-4000-8000-000000000000"

    response = calls.personal("DELETE", f"sessions/{target}", grant["access_token"])

    assert calls.problem(response)[:2] == (404, "not_found")
    assert calls.personal("GET", "account", other["access_token"]).status_code == 200


def test_an_id_that_is_none_is_not_found(grant: dict[str, Any]) -> None:
    assert calls.problem(calls.personal("DELETE", "sessions/1", grant["access_token"]))[:2] == (404, "not_found")


def test_a_long_device_name_is_cut_and_an_unknown_address_stays_empty(account: dict[str, Any]) -> None:
    payload = {"email": calls.EMAIL, "password": calls.PASSWORD, "device": "d" * 500, "address": ""}

    grant = json.loads(calls.signed("sessions", payload).content)

    assert [(item["device"], item["address"]) for item in listed(grant)] == [("d" * 200, "")]


def test_the_zone_of_a_link_local_address_is_left_out(account: dict[str, Any]) -> None:
    assert [item["address"] for item in listed(calls.sign_in(address="fe80::1%eth0"))] == ["fe80::1"]


def test_staff_ends_sessions_and_is_recorded(grant: dict[str, Any], other: dict[str, Any]) -> None:
    assert sessions.end_by_staff(session_ids=[calls.session_id(grant)], staff_id="7") == 1

    assert calls.personal("GET", "account", grant["access_token"]).status_code == 401
    assert calls.personal("GET", "account", other["access_token"]).status_code == 200
    assert AuditEvent.objects.get(what="session_ended").details == {"reason": "ended_by_staff", "staff": "7"}
