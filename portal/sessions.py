"""Who is signed in, as the signed, HttpOnly cookie remembers it.

The cookie session holds the access token with its expiry, the refresh token, and a snapshot of the account: enough to
show a limited portal while auth does not answer. Nothing is kept on the server.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from typing import Any

import structlog
from django.http import HttpRequest
from django.middleware.csrf import rotate_token

from internal import clients
from internal.addresses import client_address
from internal.contracts import Account, StoredImage, TokenGrant
from internal.errors import InvalidReply, Rejected, Unavailable
from portal.devices import device_of

log = structlog.get_logger(__name__)

_KEY = "sign_in"
RENEW_BEFORE_EXPIRY = 30
"""Seconds of life below which an access token is renewed before it is used."""


class SignInEnded(Exception):
    """The session of this person has ended (signed out elsewhere, expired, or revoked)."""


@dataclass(frozen=True)
class AccountSnapshot:
    """What the portal knows of an account without asking auth. `avatar_path` is relative to UPLOADS_URL."""

    id: str
    name: str
    email: str
    avatar_path: str | None

    @classmethod
    def of(cls, account: Account, image: StoredImage | None) -> AccountSnapshot:
        return cls(str(account.id), account.name, account.email, image.avatar_path if image else None)


@dataclass(frozen=True)
class SignIn:
    """A person's sign-in. Times are seconds since the epoch."""

    account: AccountSnapshot
    access_token: str
    access_expires_at: int
    refresh_token: str

    @property
    def has_expired(self) -> bool:
        """True when the access token can no longer be used: auth has to be asked for a new one."""
        return self.access_expires_at <= time.time()

    @property
    def needs_renewal(self) -> bool:
        return self.access_expires_at - RENEW_BEFORE_EXPIRY <= time.time()

    @property
    def token(self) -> str:
        """The access token.

        Raises:
            Unavailable: it has expired and auth could not renew it. The person stays signed in, with less to see.
        """
        if self.has_expired:
            raise Unavailable("auth", "the access token has expired and could not be renewed")
        return self.access_token


def load(request: HttpRequest) -> SignIn | None:
    """The sign-in that the cookie of this request carries; None for a visitor, or when the cookie has another shape."""
    stored = request.session.get(_KEY)
    if stored is None:
        return None
    try:
        return SignIn(**{**stored, "account": AccountSnapshot(**stored["account"])})
    except (TypeError, KeyError):
        # Signed by us, so it was written by a release with another shape: start afresh.
        request.session.flush()
        return None


def start(request: HttpRequest, grant: TokenGrant, account: AccountSnapshot) -> SignIn:
    """Begins a sign-in in a new cookie session, with a new CSRF secret: what was there before cannot be fixed on it."""
    request.session.flush()
    rotate_token(request)
    return _store(request, grant, account)


def renew(request: HttpRequest, sign_in: SignIn) -> SignIn:
    """The sign-in with an access token that is good for a while, renewed at auth once if needed.

    While auth does not answer, the sign-in comes back as it is: `token` works until the old one expires.

    Raises:
        SignInEnded: auth has refused the refresh token; the cookie is empty afterwards.
    """
    if not sign_in.needs_renewal:
        return sign_in
    try:
        grant = clients.auth_client().refresh(
            refresh_token=sign_in.refresh_token, device=device_of(request), address=client_address(request)
        )
    except Rejected as rejected:
        if rejected.problem.status != 401:
            # Too many requests, for example: no word about whether this session lives.
            log.warning("sign_in_renewal_refused", code=rejected.problem.code)
            return sign_in
        end(request)
        raise SignInEnded from rejected
    except (Unavailable, InvalidReply):
        return sign_in
    return _store(request, grant, sign_in.account)


def remember(request: HttpRequest, sign_in: SignIn, **changes: Any) -> SignIn:
    """Keeps what was learnt about the account (`name`, `email`, `avatar_path`) for when auth does not answer."""
    account = replace(sign_in.account, **changes)
    if account == sign_in.account:
        return sign_in
    changed = replace(sign_in, account=account)
    _write(request, changed)
    return changed


def end(request: HttpRequest) -> None:
    """Forgets the sign-in on this device. It does not tell auth."""
    request.session.flush()
    rotate_token(request)
    request.sign_in = None  # type: ignore[attr-defined]


def _store(request: HttpRequest, grant: TokenGrant, account: AccountSnapshot) -> SignIn:
    sign_in = SignIn(
        account=account,
        access_token=grant.access_token,
        access_expires_at=int(time.time()) + grant.expires_in,
        refresh_token=grant.refresh_token,
    )
    request.session.set_expiry(grant.refresh_expires_in)
    _write(request, sign_in)
    return sign_in


def _write(request: HttpRequest, sign_in: SignIn) -> None:
    request.session[_KEY] = asdict(sign_in)
    request.sign_in = sign_in  # type: ignore[attr-defined]
