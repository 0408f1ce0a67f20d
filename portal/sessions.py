"""Who is signed in, as signed, HttpOnly cookies remember it. Nothing is kept on the server.

The sign-in has a cookie of its own: the access token with its expiry, the refresh token, and a snapshot of the account,
enough to show a limited portal while auth does not answer. Only a request that itself starts, renews or ends the
sign-in writes it. Everything else, messages and what is learnt about the account, is in the session cookie: several
requests at a time may write that, and none of them puts back a refresh token that another one has used.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from typing import Any

import structlog
from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import rotate_token

from internal import clients, context
from internal.addresses import client_address
from internal.contracts import Account, StoredImage, TokenGrant
from internal.errors import InvalidReply, Rejected, Unavailable
from portal.devices import device_of

log = structlog.get_logger(__name__)

_SALT = "portal.sign-in"
_LEARNT = "account"  # in the session: what has been learnt about the account since the sign-in cookie was written
_CHANGE = "_sign_in_change"  # on the request: what is to become of the sign-in cookie
RENEWAL_TIME = 0.7
"""Seconds that a page waits for a new access token while it can do with the old one."""


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
        return not self.is_good_for(0)

    def is_good_for(self, seconds: int) -> bool:
        """Whether the access token lives longer than that."""
        return self.access_expires_at - seconds > time.time()

    @property
    def token(self) -> str:
        """The access token.

        Raises:
            Unavailable: it has expired and auth could not renew it. The person stays signed in, with less to see.
        """
        self.require_token()
        return self.access_token

    def require_token(self) -> None:
        """Raises Unavailable as `token` does."""
        if self.has_expired:
            raise Unavailable("auth", "the access token has expired and could not be renewed")


@dataclass(frozen=True)
class _Change:
    """A new sign-in cookie with its age in seconds, or none any more."""

    sign_in: SignIn | None
    max_age: int = 0


def cookie_name() -> str:
    return "__Host-seawall-sign-in" if settings.HTTPS_ONLY else "seawall-sign-in"


def load(request: HttpRequest) -> SignIn | None:
    """The sign-in that the cookies of this request carry; None for a visitor, or when its cookie has another shape."""
    cookie = request.COOKIES.get(cookie_name())
    if cookie is None:
        return None
    try:
        stored = signing.loads(cookie, salt=_SALT, max_age=settings.SESSION_COOKIE_AGE)
        sign_in = SignIn(**{**stored, "account": AccountSnapshot(**stored["account"])})
    except (signing.BadSignature, TypeError, KeyError):
        # Altered, too old, or written by a release with another shape: start afresh.
        return None
    learnt = request.session.get(_LEARNT)
    if isinstance(learnt, dict) and learnt.keys() == asdict(sign_in.account).keys():
        account = AccountSnapshot(**learnt)
        if account.id == sign_in.account.id:  # not what a late request learnt about who was signed in before
            return replace(sign_in, account=account)
    return sign_in


def write_cookie(request: HttpRequest, response: HttpResponse) -> None:
    """Gives the answer the sign-in cookie, if this request has started, renewed or ended the sign-in."""
    change: _Change | None = getattr(request, _CHANGE, None)
    if change is None:
        return
    if change.sign_in is None:
        response.delete_cookie(cookie_name(), samesite="Lax")
        return
    response.set_cookie(
        cookie_name(),
        signing.dumps(asdict(change.sign_in), salt=_SALT, compress=True),
        max_age=change.max_age,
        secure=settings.HTTPS_ONLY,
        httponly=True,
        samesite="Lax",
    )


def start(request: HttpRequest, grant: TokenGrant, account: AccountSnapshot) -> SignIn:
    """Begins a sign-in, in a new cookie session with a new CSRF secret: what was there before cannot be fixed on it."""
    request.session.flush()
    rotate_token(request)
    return _take(request, grant, account)


def renew(request: HttpRequest, sign_in: SignIn, *, good_for: int) -> SignIn:
    """The sign-in with an access token that is good for that many seconds, renewed at auth once if needed.

    A refresh token that was used is good only for moments more, so this is for requests that are answered at once:
    not for one whose body may be long on its way, while the browser renews in another tab. While auth does not answer,
    the sign-in comes back as it is: `token` works until the old one expires.

    Raises:
        SignInEnded: auth has refused the refresh token; the cookies are empty afterwards.
    """
    if sign_in.is_good_for(good_for):
        return sign_in
    try:
        with context.within(context.REQUEST_DEADLINE if sign_in.has_expired else RENEWAL_TIME):
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
    return _take(request, grant, sign_in.account)


def remember(request: HttpRequest, sign_in: SignIn, **changes: Any) -> SignIn:
    """Keeps what was learnt about the account (`name`, `email`, `avatar_path`) for when auth does not answer."""
    account = replace(sign_in.account, **changes)
    if account == sign_in.account:
        return sign_in
    changed = replace(sign_in, account=account)
    request.session[_LEARNT] = asdict(account)
    request.sign_in = changed  # type: ignore[attr-defined]
    return changed


def end(request: HttpRequest) -> None:
    """Forgets the sign-in on this device. It does not tell auth."""
    request.session.flush()
    rotate_token(request)
    request.sign_in = None  # type: ignore[attr-defined]
    setattr(request, _CHANGE, _Change(None))


def _take(request: HttpRequest, grant: TokenGrant, account: AccountSnapshot) -> SignIn:
    sign_in = SignIn(
        account=account,
        access_token=grant.access_token,
        access_expires_at=int(time.time()) + grant.expires_in,
        refresh_token=grant.refresh_token,
    )
    request.sign_in = sign_in  # type: ignore[attr-defined]
    setattr(request, _CHANGE, _Change(sign_in, grant.refresh_expires_in))
    return sign_in
