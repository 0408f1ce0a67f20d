"""The auth database."""

from auth.models.account import Account
from auth.models.audit_event import AuditEvent
from auth.models.refresh_token import RefreshToken
from auth.models.session import Session
from auth.models.sign_in_failure import SignInFailure
from auth.models.signature_nonce import SignatureNonce
from auth.models.signing_key import SigningKey

__all__ = ["Account", "AuditEvent", "RefreshToken", "Session", "SignInFailure", "SignatureNonce", "SigningKey"]
