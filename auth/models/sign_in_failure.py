"""Counters of failed sign-ins."""

from __future__ import annotations

import datetime as dt

from django.db import models
from django.db.models import Q


class SignInFailureQuerySet(models.QuerySet["SignInFailure"]):
    """Counters by what they count for."""

    def locked(self, now: dt.datetime) -> SignInFailureQuerySet:
        """Those that refuse attempts at this moment."""
        return self.filter(locked_until__gt=now)


class SignInFailure(models.Model):
    """How many sign-ins have failed lately: for an email address, from a network, or for both together.

    `network` may also name, in the form "device <digest>", a device on which the person has signed in before.

    The email address is kept as a digest (auth.emails.email_digest), so that the table says nothing about people who
    have no account. Written by auth.lockout in single statements, which keep it exact.
    """

    email_digest = models.CharField(max_length=64, blank=True)
    network = models.CharField(max_length=64, blank=True)
    failures = models.PositiveIntegerField()
    window_started_at = models.DateTimeField()
    locked_until = models.DateTimeField(null=True, blank=True)

    objects = SignInFailureQuerySet.as_manager()

    class Meta:
        ordering = ["-window_started_at", "-id"]
        constraints = [
            models.UniqueConstraint(fields=["email_digest", "network"], name="sign_in_failure_unique"),
            models.CheckConstraint(condition=~Q(email_digest="", network=""), name="sign_in_failure_counts_something"),
        ]
        indexes = [models.Index(fields=["-window_started_at", "-id"], name="sign_in_failure_newest")]

    def __str__(self) -> str:
        return f"{self.scope}: {self.failures}"

    @property
    def scope(self) -> str:
        """What is counted: "account", "network", "account and network", or "account and device"."""
        source = "device" if self.network.startswith("device ") else "network"
        return " and ".join(filter(None, [self.email_digest and "account", self.network and source]))
