"""Who calls the auth role with an access token: a person whose session still holds."""

from __future__ import annotations

from django.utils import timezone
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from auth.models import Session
from internal.authentication import BearerTokenAuthentication, Principal
from internal.problems import Problem, ProblemError


class LiveSessionAuthentication(BaseAuthentication):
    """`Authorization: Bearer <access token>`, as every role verifies it, and the session must not have ended since.

    Sets request.user to a Principal and request.auth to the Session, with its account.
    """

    def authenticate(self, request: Request) -> tuple[Principal, Session] | None:
        """None without the header; raises ProblemError for a token that is not good (any more)."""
        proved = BearerTokenAuthentication().authenticate(request)
        if proved is None:
            return None
        principal, _ = proved
        session = (
            Session.objects.alive(timezone.now())
            .select_related("account")
            .filter(pk=principal.session_id, account_id=principal.account_id)
            .first()
        )
        if session is None:
            raise ProblemError(Problem("invalid_token", "The session has ended: sign in again."))
        return principal, session

    def authenticate_header(self, request: Request) -> str:
        """What a 401 says in WWW-Authenticate."""
        return 'Bearer realm="seawall"'
