from __future__ import annotations

import pytest
from django.test import Client

from internal import clients
from tests.portal.fakes import FIREFOX, FakeAuth, FakeImages


@pytest.fixture
def auth(monkeypatch: pytest.MonkeyPatch) -> FakeAuth:
    fake = FakeAuth()
    monkeypatch.setattr(clients, "auth_client", lambda: fake)
    return fake


@pytest.fixture
def images(monkeypatch: pytest.MonkeyPatch) -> FakeImages:
    fake = FakeImages()
    monkeypatch.setattr(clients, "images_client", lambda: fake)
    return fake


@pytest.fixture
def visitor(auth: FakeAuth, images: FakeImages) -> Client:
    """A browser in which nobody is signed in."""
    return Client(headers={"user-agent": FIREFOX})


@pytest.fixture
def anna(visitor: Client) -> Client:
    """Anna's browser, signed in."""
    response = visitor.post("/sign-in", {"email": "anna@example.org", "password": "seven green boats"})
    assert response.status_code == 302, response.content
    return visitor
