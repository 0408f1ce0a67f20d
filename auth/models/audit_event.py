"""Audit events."""

from __future__ import annotations

from django.db import models
from django.utils import timezone


class AuditEvent(models.Model):
    """Something that happened to somebody's credentials. The database refuses to change or delete one.

    It names the account by its id alone and has no relation to it: the record outlives the account.
    """

    class What(models.TextChoices):
        """What happened."""

        REGISTERED = "registered", "Registered"
        SIGNED_IN = "signed_in", "Signed in"
        SIGN_IN_FAILED = "sign_in_failed", "Sign-in failed"
        SIGN_IN_LOCKED = "sign_in_locked", "Sign-in locked after failures"
        SIGN_IN_UNLOCKED = "sign_in_unlocked", "Sign-in unlocked by staff"
        SIGNED_OUT = "signed_out", "Signed out"
        SESSION_ENDED = "session_ended", "Session ended"
        REFRESH_TOKEN_REUSED = "refresh_token_reused", "Refresh token reused"
        PROFILE_CHANGED = "profile_changed", "Profile changed"
        PASSWORD_CHANGED = "password_changed", "Password changed"
        PASSWORD_REFUSED = "password_refused", "Current password was wrong"
        ACCOUNT_CLOSED = "account_closed", "Account closed"
        SIGNING_KEY_CREATED = "signing_key_created", "Signing key created"

    what = models.CharField(max_length=32, choices=What)
    occurred_at = models.DateTimeField(default=timezone.now)
    account_id = models.UUIDField(null=True, blank=True)
    session_id = models.UUIDField(null=True, blank=True)
    address = models.GenericIPAddressField(null=True, blank=True)
    request_id = models.CharField(max_length=64, blank=True)
    details = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering = ["-occurred_at", "-id"]
        indexes = [
            models.Index(fields=["-occurred_at", "-id"], name="audit_event_newest"),
            models.Index(fields=["account_id", "-occurred_at"], name="audit_event_of_account"),
        ]

    def __str__(self) -> str:
        return self.get_what_display()
