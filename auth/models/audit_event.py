"""Audit events."""

from __future__ import annotations

from django.db import models
from django.utils import timezone


class AuditEvent(models.Model):
    """Something that happened to somebody's credentials. The database refuses to change one, or to delete it early.

    It names the account by its id alone and has no relation to it: the record outlives the account. What it takes to
    delete an old one, and what the database writes down when that is done, is in docs/decisions/0036.
    """

    class What(models.TextChoices):
        """What happened."""

        REGISTERED = "registered", "Registered"
        REGISTRATION_REFUSED = "registration_refused", "Registration refused: the address is taken"
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
        STAFF_SIGNED_IN = "staff_signed_in", "Staff signed in"
        STAFF_SIGNED_OUT = "staff_signed_out", "Staff signed out"
        STAFF_SIGN_IN_FAILED = "staff_sign_in_failed", "Staff sign-in failed"
        STAFF_ADDED = "staff_added", "Staff user or group added"
        STAFF_CHANGED = "staff_changed", "Staff user, group or permissions changed"
        STAFF_REMOVED = "staff_removed", "Staff user or group removed"
        IMAGE_DELETED_BY_STAFF = "image_deleted_by_staff", "Image deleted by staff"
        AUDIT_PRUNED = "audit_pruned", "Old audit events deleted"
        SIGNING_KEY_ACTIVATED = "signing_key_activated", "Signing key began to sign"
        SIGNING_KEY_RETIRING = "signing_key_retiring", "Signing key stopped signing"
        SIGNING_KEY_RETIRED = "signing_key_retired", "Signing key withdrawn, its tokens having expired"
        SIGNING_KEY_REVOKED = "signing_key_revoked", "Signing key revoked"
        SIGNING_KEY_REENCRYPTED = "signing_key_reencrypted", "Signing key encrypted anew"

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
