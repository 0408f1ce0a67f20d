"""Who calls the auth role with an access token: a person whose session still holds."""

from __future__ import annotations

from django.utils import timezone
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from auth import rows
from auth.models import Session
from internal.authentication import BearerTokenAuthentication, Principal
from internal.problems import Problem, ProblemError

_TABLE = Session._meta.db_table
# As SessionQuerySet.alive says.
_ALIVE = f'"{_TABLE}".id = %s AND account_id = %s AND ended_at IS NULL AND expires_at > %s'


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
        known_by = [principal.session_id, principal.account_id, timezone.now()]
        session = rows.first_with(Session, "account", _ALIVE, known_by)
        if session is None:
            raise ProblemError(Problem("invalid_token", "The session has ended: sign in again."))
        return principal, session

    def authenticate_header(self, request: Request) -> str:
        """What a 401 says in WWW-Authenticate."""
        return 'Bearer realm="seawall"'
