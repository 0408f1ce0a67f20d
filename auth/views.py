"""The internal API: other roles call it, people never do."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.conf import settings
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer
from rest_framework.views import APIView

from auth import accounts, changes, health, serializers, sessions, signing_keys
from auth.authentication import LiveSessionAuthentication
from auth.models import Session
from internal import contracts
from internal.authentication import HasPrincipal, IsService, ServiceSignatureAuthentication


class InternalView(APIView):
    """JSON in, JSON out, and nothing for a cache to keep."""

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Forbids storing where the view does not say otherwise."""
        finished = super().finalize_response(request, response, *args, **kwargs)
        finished.headers.setdefault("Cache-Control", "no-store")
        return finished

    def valid(self, serializer: type[Serializer[Any]]) -> dict[str, Any]:
        """The body as the serializer accepts it; raises ValidationError otherwise."""
        checked = serializer(data=self.request.data)
        checked.is_valid(raise_exception=True)
        accepted: dict[str, Any] = checked.validated_data
        return accepted

    @property
    def session(self) -> Session:
        """The session of the person who calls, with the account."""
        assert isinstance(self.request.auth, Session)
        return self.request.auth


class SignedView(InternalView):
    """For another role, on nobody's behalf."""

    authentication_classes = [ServiceSignatureAuthentication]
    permission_classes = [IsService]


class PersonalView(InternalView):
    """For a person whose session is alive."""

    authentication_classes = [LiveSessionAuthentication]
    permission_classes = [HasPrincipal]


class Accounts(SignedView):
    """Registration."""

    def post(self, request: Request) -> Response:
        """Makes an account."""
        account = accounts.register(**self.valid(serializers.RegistrationInput))
        return Response(account.to_json(), status=201)


class Sessions(InternalView):
    """Sign-in, signed by a role; and the list of a person's sessions."""

    def get_authenticators(self) -> list[Any]:
        """A signature to sign in; an access token to read the list."""
        return [ServiceSignatureAuthentication() if self._signs_in() else LiveSessionAuthentication()]

    def get_permissions(self) -> list[Any]:
        """As for the authenticators."""
        return [IsService() if self._signs_in() else HasPrincipal()]

    def post(self, request: Request) -> Response:
        """Signs in."""
        return Response(accounts.sign_in(**self.valid(serializers.SignInInput)).to_json())

    def get(self, request: Request) -> Response:
        """Where the person is signed in."""
        listed = sessions.of_account(account_id=self.session.account_id, current=self.session.id)
        return Response({"items": [session.to_json() for session in listed]})

    def _signs_in(self) -> bool:
        return self.request.method == "POST"


class Refresh(SignedView):
    """Refresh tokens."""

    def post(self, request: Request) -> Response:
        """Exchanges one for new tokens."""
        return Response(sessions.refresh(**self.valid(serializers.RefreshInput)).to_json())


class Revocation(SignedView):
    """Sign-out."""

    def post(self, request: Request) -> Response:
        """Ends the session of a refresh token, known or not."""
        account_id = sessions.revoke(**self.valid(serializers.RefreshTokenInput))
        return Response(contracts.SignedOut(account_id).to_json())


class SessionDetail(PersonalView):
    """One place where the person is signed in."""

    def delete(self, request: Request, session_id: UUID) -> Response:
        """Signs out there."""
        sessions.end(account_id=self.session.account_id, session_id=session_id)
        return Response(status=204)


class AccountDetail(PersonalView):
    """The person's account."""

    def get(self, request: Request) -> Response:
        """The account."""
        return Response(accounts.described(self.session.account).to_json())

    def patch(self, request: Request) -> Response:
        """Changes name or email address."""
        account = accounts.update(session=self.session, **self.valid(serializers.AccountChangeInput))
        return Response(account.to_json())

    def delete(self, request: Request) -> Response:
        """Closes the account."""
        accounts.close(session=self.session)
        return Response(status=204)


class Password(PersonalView):
    """The person's password."""

    def post(self, request: Request) -> Response:
        """Changes it, and ends every other session."""
        accounts.change_password(session=self.session, **self.valid(serializers.PasswordChangeInput))
        return Response(status=204)


class Changes(SignedView):
    """Whose account or session has changed, for roles that keep answers."""

    replay_is_harmless = True

    def get(self, request: Request) -> Response:
        """What has changed since the position `after`."""
        return Response(changes.feed.since(request.query_params.get("after")).to_json())


class Jwks(InternalView):
    """The public halves of the signing keys, for every role."""

    def get(self, request: Request) -> Response:
        """The JWK Set. No cache may stand between auth and verifiers: theirs is counted in tokens.KEY_SET_SECONDS."""
        return Response(signing_keys.public_jwks())


class Status(InternalView):
    """How the role is, for the gateway's `gateway_dependency_up`."""

    def get(self, request: Request) -> Response:
        """The release, and whether the database answers; never an error."""
        return Response(
            {
                "service": "auth",
                "version": settings.VERSION,
                "commit": settings.COMMIT,
                "database": "up" if health.database_is_up() else "down",
            }
        )
