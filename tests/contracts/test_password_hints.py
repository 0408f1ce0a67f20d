"""What auth says about a weak password, as it reaches programs and people through the real gateway."""

from __future__ import annotations

import html
import re
import secrets

import pytest
import urllib3

from tests import running

HINTS = [
    (
        "abcabcabcabc",
        'Repeats like "abcabcabc" are only slightly harder to guess than "abc".',
        "Add another word or two.",
    ),
    ("qwertyuiop12", "This is similar to a commonly used password.", "Add another word or two."),
]


@pytest.mark.parametrize(("password", "reason", "hint"), HINTS)
def test_the_api_says_at_the_field_why_and_what_to_do(password: str, reason: str, hint: str) -> None:
    person = {"name": "Anna Berg", "email": f"{secrets.token_hex(8)}@example.org", "password": password}

    answer = running.ask("POST", f"{running.url('gateway')}/api/v1/register", json=person)

    assert answer.status == 422
    [error] = [error for error in answer.json["errors"] if error["code"] == "password_too_weak"]
    assert error["field"] == "password"
    assert reason in error["message"]
    assert hint in error["message"]


@pytest.mark.parametrize(("password", "reason", "hint"), HINTS)
def test_the_form_says_it_beside_the_field(password: str, reason: str, hint: str) -> None:
    address = f"{running.url('gateway')}/register"
    form = urllib3.request("GET", address)
    cookie = form.headers["Set-Cookie"].partition(";")[0]
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', form.data.decode())
    assert token
    fields = {"name": "Anna Berg", "email": f"{secrets.token_hex(8)}@example.org", "password": password}

    page = urllib3.request(
        "POST", address, fields=fields | {"csrfmiddlewaretoken": token[1]}, headers={"Cookie": cookie}
    )

    assert page.status == 422
    text = html.unescape(page.data.decode())
    beside = re.search(r'id="id_password_error"[^>]*>(.*?)</div>', text, re.DOTALL)
    assert beside, text
    assert reason in beside[1]
    assert hint in beside[1]
    assert password not in text.replace(reason, "")
