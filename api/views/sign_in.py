"""Signing in and out, and the sessions that come of it."""

from __future__ import annotations

from uuid import UUID

from rest_framework.request import Request
from rest_framework.response import Response

from api import operations, serializers
from api.views.base import ApiView, PersonalView, token_of
from internal import clients
from internal.addresses import client_address

DEVICE_LENGTH = 200
UNKNOWN_DEVICE = "Unknown client"


class LoginView(ApiView):
    @operations.login
    def post(self, request: Request) -> Response:
        credentials = serializers.Credentials.of(request)
        grant = clients.auth_client().sign_in(
            **credentials,
            device=device_of(request),
            address=client_address(request._request),
        )
        return Response(serializers.TokenGrant.shown(grant))


class RefreshView(ApiView):
    @operations.refresh
    def post(self, request: Request) -> Response:
        values = serializers.RefreshToken.of(request)
        grant = clients.auth_client().refresh(
            **values,
            device=device_of(request),
            address=client_address(request._request),
        )
        return Response(serializers.TokenGrant.shown(grant))


class LogoutView(ApiView):
    @operations.logout
    def post(self, request: Request) -> Response:
        clients.auth_client().sign_out(**serializers.RefreshToken.of(request))
        return Response(status=204)


class PasswordView(PersonalView):
    @operations.change_password
    def post(self, request: Request) -> Response:
        clients.auth_client().change_password(token_of(request), **serializers.PasswordChange.of(request))
        return Response(status=204)


class SessionsView(PersonalView):
    @operations.list_sessions
    def get(self, request: Request) -> Response:
        sessions = clients.auth_client().sessions(token_of(request))
        return Response(serializers.SessionList.shown({"items": sessions}))


class SessionView(PersonalView):
    @operations.end_session
    def delete(self, request: Request, session_id: UUID) -> Response:
        clients.auth_client().end_session(token_of(request), session_id)
        return Response(status=204)


def device_of(request: Request) -> str:
    """What the client calls itself, as printable text of at most 200 characters."""
    text = "".join(letter for letter in request.headers.get("User-Agent", "") if letter.isprintable())
    return text.strip()[:DEVICE_LENGTH] or UNKNOWN_DEVICE
