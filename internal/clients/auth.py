"""The client of the auth role. Every method raises Unavailable, Rejected or InvalidReply, and nothing else."""

from __future__ import annotations

from contextlib import AbstractContextManager
from uuid import UUID

from internal import marks, tokens
from internal.contracts import Account, Changes, Session, SessionList, SignedOut, TokenGrant
from internal.transport import Transport


class AuthClient:
    """What the gateway asks of auth. `token` is an access token of the person on whose behalf it asks."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport

    def register(self, *, name: str, email: str, password: str) -> Account:
        """Makes an account. Rejected: email_taken, invalid_input."""
        payload = {"name": name, "email": email, "password": password}
        reply = self.transport.call("register", "POST", "/internal/v1/accounts", signed=True, payload=payload)
        return Account.from_json(reply.json)

    def sign_in(self, *, email: str, password: str, device: str, address: str, known_device: str = "") -> TokenGrant:
        """Starts a session. Rejected: invalid_credentials, account_locked, too_many_requests.

        `known_device` names the device, if the caller has made sure that this person has signed in on it before: what
        strangers have tried does not count there. Empty otherwise.
        """
        payload = {"email": email, "password": password, "device": device, "address": address}
        if known_device:
            payload["known_device"] = known_device
        reply = self.transport.call("sign_in", "POST", "/internal/v1/sessions", signed=True, payload=payload)
        grant = TokenGrant.from_json(reply.json)
        with _changing(grant.access_token):  # when the person has signed in last
            return grant

    def refresh(self, *, refresh_token: str, device: str, address: str) -> TokenGrant:
        """Exchanges a refresh token for new tokens of the same session. Rejected: invalid_refresh_token."""
        payload = {"refresh_token": refresh_token, "device": device, "address": address}
        reply = self.transport.call("refresh", "POST", "/internal/v1/sessions/refresh", signed=True, payload=payload)
        return TokenGrant.from_json(reply.json)

    def sign_out(self, *, refresh_token: str) -> None:
        """Ends the session of a refresh token; one that is not known (any more) is no error."""
        payload = {"refresh_token": refresh_token}
        reply = self.transport.call("sign_out", "POST", "/internal/v1/sessions/revoke", signed=True, payload=payload)
        if reply.json is None:  # a release that does not say whose it was; its database tells
            return
        with marks.changing(SignedOut.from_json(reply.json).account_id, "auth"):
            return

    def account(self, token: str) -> Account:
        """The person's account. Rejected: invalid_token when the session has ended."""
        return Account.from_json(self.transport.call("account", "GET", "/internal/v1/account", token=token).json)

    def update_account(
        self,
        token: str,
        *,
        name: str | None = None,
        email: str | None = None,
        current_password: str | None = None,
    ) -> Account:
        """Changes what is given; a new email needs the current password.

        Rejected: invalid_input, wrong_password, email_taken.
        """
        changes = {"name": name, "email": email, "current_password": current_password}
        payload = {field: value for field, value in changes.items() if value is not None}
        with _changing(token):
            reply = self.transport.call("update_account", "PATCH", "/internal/v1/account", token=token, payload=payload)
        return Account.from_json(reply.json)

    def change_password(self, token: str, *, current_password: str, new_password: str) -> None:
        """Changes the password and ends every other session. Rejected: wrong_password, invalid_input."""
        payload = {"current_password": current_password, "new_password": new_password}
        path = "/internal/v1/account/password"
        with _changing(token):
            self.transport.call("change_password", "POST", path, token=token, payload=payload)

    def sessions(self, token: str) -> tuple[Session, ...]:
        """Where the person is signed in, last used first."""
        reply = self.transport.call("sessions", "GET", "/internal/v1/sessions", token=token)
        return SessionList.from_json(reply.json).items

    def end_session(self, token: str, session_id: UUID) -> None:
        """Signs out there. Rejected: not_found."""
        with _changing(token):
            self.transport.call("end_session", "DELETE", f"/internal/v1/sessions/{session_id}", token=token)

    def close_account(self, token: str) -> None:
        """Ends every session and removes the account."""
        with _changing(token):
            self.transport.call("close_account", "DELETE", "/internal/v1/account", token=token)

    def changes(self, after: str | None) -> Changes:
        """Whose account or session has changed since the answer that gave the position `after`.

        Rejected: invalid_input for a position of something else.
        """
        query = None if after is None else {"after": after}
        reply = self.transport.call("changes", "GET", "/internal/v1/changes", signed=True, query=query)
        return Changes.from_json(reply.json, service="auth")


def _changing(token: str) -> AbstractContextManager[None]:
    return marks.changing(tokens.claimed_subject(token), "auth")
