"""People and clients for tests of the real services, which run in processes of their own."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest

from internal import clients, context, tokens
from internal.clients import AuthClient, ImagesClient
from internal.contracts import Account, TokenGrant
from internal.errors import Rejected
from internal.problems import Problem


def new_address() -> str:
    """An address nobody else signs in from: failed attempts are counted for each address."""
    return f"198.18.{secrets.randbelow(256)}.{secrets.randbelow(256)}"


def rejection(call: Callable[[], Any], code: str) -> Problem:
    """The problem with which the service rejects the call."""
    with pytest.raises(Rejected) as caught:
        call()
    assert caught.value.problem.code == code
    assert caught.value.problem.detail
    return caught.value.problem


@dataclass
class Member:
    """Somebody who is registered and signed in."""

    account: Account
    password: str
    address: str
    grant: TokenGrant

    @property
    def token(self) -> str:
        return self.grant.access_token

    @property
    def session_id(self) -> UUID:
        return tokens.verify(self.token).session


@pytest.fixture(autouse=True)
def _request() -> Iterator[None]:
    """Each test is one request of the gateway, as far as the clients can tell."""
    context.begin_request(None)
    yield
    context.end_request()


@pytest.fixture
def auth() -> AuthClient:
    return clients.auth_client()


@pytest.fixture
def images() -> ImagesClient:
    return clients.images_client()


@pytest.fixture
def new_member(auth: AuthClient) -> Callable[[], Member]:
    """Registers somebody and signs in."""

    def make() -> Member:
        email, password = f"anna-{secrets.token_hex(8)}@example.org", f"lantern {secrets.token_hex(6)} harbour"
        account = auth.register(name="Anna Berg", email=email, password=password)
        address = new_address()
        grant = auth.sign_in(email=email, password=password, device="Tests", address=address)
        return Member(account, password, address, grant)

    return make


@pytest.fixture
def member(new_member: Callable[[], Member]) -> Member:
    return new_member()


@pytest.fixture
def stranger(new_member: Callable[[], Member]) -> Member:
    """Somebody else, who is signed in, too."""
    return new_member()
