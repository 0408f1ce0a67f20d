"""Who calls, for REST framework: a person with an access token, or another role with a signature."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from uuid import UUID

import structlog
from django.conf import settings
from django.utils.module_loading import import_string
from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from internal import context, signing, tokens
from internal.problems import Problem, ProblemError
from internal.tokens import Claims

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Principal:
    """A person: the account, the session, and the access token that proved both."""

    account_id: UUID
    session_id: UUID
    token: str


@dataclass(frozen=True, slots=True)
class ServicePrincipal:
    """Another role, by the id of the key that it signed with."""

    key_id: str


class BearerTokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer <access token>`; sets request.user to a Principal and request.auth to its Claims."""

    def authenticate(self, request: Request) -> tuple[Principal, Claims] | None:
        """None without the header; raises ProblemError for a token that is not good."""
        header = request.META.get("HTTP_AUTHORIZATION", "")
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer":
            return None
        claims = tokens.verify(token.strip())
        context.bind_account(claims.subject)
        return Principal(claims.subject, claims.session, token.strip()), claims

    def authenticate_header(self, request: Request) -> str:
        """What a 401 says in WWW-Authenticate."""
        return 'Bearer realm="seawall"'


class ServiceSignatureAuthentication(BaseAuthentication):
    """A call signed by another role, and let in once only; sets request.user to a ServicePrincipal.

    The setting SIGNATURE_NONCES names the function `first_use(nonce, *, signed_at) -> bool` of the role that verifies.
    A JSON body is compared with the signed digest here. A view that reads its body as a stream sets
    `signs_stream = True` and compares itself, with `require_signed_digest`. A view that only reads, and tells nobody
    more when it is asked again, sets `replay_is_harmless = True`: its GET writes nothing, and needs no nonce.
    """

    def authenticate(self, request: Request) -> tuple[ServicePrincipal, None]:
        """Raises ProblemError for a call that is unsigned, altered, out of its time window or a replay."""
        try:
            signature = signing.verify(
                settings.SERVICE_KEYS,
                request.headers,
                method=str(request.method),
                path=request.get_full_path(),
            )
        except signing.InvalidSignature as error:
            log.warning("service_signature_refused", reason=str(error))
            raise ProblemError(_invalid_signature()) from None
        view = request.parser_context["view"] if request.parser_context else None
        if not getattr(view, "signs_stream", False):
            require_signed_digest(request, hashlib.sha256(request._request.body).hexdigest())
        if request.method == "GET" and getattr(view, "replay_is_harmless", False):
            return ServicePrincipal(signature.key_id), None
        first_use = import_string(settings.SIGNATURE_NONCES)
        if not first_use(signature.nonce, signed_at=signature.time):
            log.warning("service_signature_refused", reason="the call was let in before: it is a replay")
            raise ProblemError(_invalid_signature())
        return ServicePrincipal(signature.key_id), None

    def authenticate_header(self, request: Request) -> str:
        """What a 401 says in WWW-Authenticate."""
        return "Seawall-Signature"


def require_signed_digest(request: Request, body_digest: str) -> None:
    """Compares the body that was read with the one that was signed.

    Raises:
        ProblemError: invalid_signature.
    """
    if not signing.digest_matches(request.headers, body_digest):
        log.warning("service_signature_refused", reason="the body is not the one that was signed")
        raise ProblemError(_invalid_signature())


def _invalid_signature() -> Problem:
    return Problem("invalid_signature", "This call must be signed by a service of the portal.")


class HasPrincipal(BasePermission):
    """Lets a person in; nobody else."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Raises NotAuthenticated without an access token."""
        if not isinstance(request.user, Principal):
            raise exceptions.NotAuthenticated
        return True


class IsService(BasePermission):
    """Lets another role in; nobody else."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Whether the call was signed."""
        return isinstance(request.user, ServicePrincipal)
