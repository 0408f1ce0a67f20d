"""Sessions."""

from __future__ import annotations

import datetime as dt
import uuid

from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from auth.models.account import Account

DEVICE_LENGTH = 200


class SessionQuerySet(models.QuerySet["Session"]):
    """Sessions by whether they still hold."""

    def alive(self, now: dt.datetime | None = None) -> SessionQuerySet:
        """Those that have neither been ended nor run out."""
        return self.filter(ended_at__isnull=True, expires_at__gt=now or timezone.now())


class Session(models.Model):
    """One sign-in on one device, until it is ended or runs out.

    Refresh tokens come in generations: each refresh begins the next one, at `rotated_at`. `expires_at` moves on with
    each refresh (the idle lifetime) but never past `absolute_expires_at`.
    """

    class EndReason(models.TextChoices):
        """Why a session was ended before its time."""

        SIGNED_OUT = "signed_out", "Signed out"
        ENDED_BY_OWNER = "ended_by_owner", "Ended by its owner from elsewhere"
        PASSWORD_CHANGED = "password_changed", "Password changed elsewhere"
        TOKEN_REUSED = "token_reused", "A used refresh token was used again"
        ENDED_BY_STAFF = "ended_by_staff", "Ended by staff"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="sessions")
    device = models.CharField(max_length=DEVICE_LENGTH, blank=True)
    address = models.GenericIPAddressField(null=True, blank=True)
    created_at = models.DateTimeField()
    last_used_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    absolute_expires_at = models.DateTimeField()
    generation = models.PositiveIntegerField(default=0)
    rotated_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    end_reason = models.CharField(max_length=20, choices=EndReason, blank=True)

    objects = SessionQuerySet.as_manager()

    class Meta:
        ordering = ["-last_used_at", "id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(expires_at__lte=F("absolute_expires_at")), name="session_idle_within_absolute"
            ),
            models.CheckConstraint(
                condition=Q(last_used_at__gte=F("created_at"), rotated_at__gte=F("created_at")),
                name="session_times_in_order",
            ),
            models.CheckConstraint(
                condition=Q(ended_at__isnull=True, end_reason="") | (Q(ended_at__isnull=False) & ~Q(end_reason="")),
                name="session_end_has_a_reason",
            ),
        ]
        indexes = [
            models.Index(fields=["account", "-last_used_at"], name="session_of_account"),
            models.Index(fields=["-last_used_at", "id"], name="session_last_used"),
        ]

    def __str__(self) -> str:
        return self.device or "Unknown device"

    def is_alive(self, now: dt.datetime) -> bool:
        """Whether it has neither been ended nor run out."""
        return self.ended_at is None and self.expires_at > now
