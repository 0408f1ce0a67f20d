"""Signing keys: which there are, and what each of them is good for. How they change: auth.key_rotation."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone


class SigningKeyQuerySet(models.QuerySet["SigningKey"]):
    """Signing keys by what they are good for."""

    def published(self) -> SigningKeyQuerySet:
        """Those whose tokens verifiers accept, or soon will: next, active and retiring ones."""
        return self.exclude(state=SigningKey.State.RETIRED)


class SigningKey(models.Model):
    """A key pair that access tokens are signed with.

    The private half is there only as ciphertext (see auth.key_encryption), and only as long as the key signs or is yet
    to sign: retiring and retired keys have none.
    """

    class State(models.TextChoices):
        """The life of a key: published, then signing, then only verifying, then nothing."""

        NEXT = "next", "Next"
        ACTIVE = "active", "Active"
        RETIRING = "retiring", "Retiring"
        RETIRED = "retired", "Retired"

    class Algorithm(models.TextChoices):
        """The JWS algorithm (RFC 9864)."""

        ED25519 = "Ed25519", "Ed25519"

    kid = models.CharField("key id", primary_key=True, max_length=64)
    algorithm = models.CharField(max_length=16, choices=Algorithm, default=Algorithm.ED25519)
    public_jwk = models.JSONField("public half")
    private_half = models.BinaryField("encrypted private half", blank=True)
    encryption_key_id = models.CharField(max_length=64, blank=True)
    state = models.CharField(max_length=8, choices=State)
    created_at = models.DateTimeField(default=timezone.now)
    activated_at = models.DateTimeField(null=True, blank=True)
    retiring_at = models.DateTimeField(null=True, blank=True)
    retired_at = models.DateTimeField(null=True, blank=True)

    objects = SigningKeyQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "kid"]
        constraints = [
            models.UniqueConstraint(fields=["state"], condition=Q(state="active"), name="signing_key_one_active"),
            models.UniqueConstraint(fields=["state"], condition=Q(state="next"), name="signing_key_one_next"),
            models.CheckConstraint(
                condition=Q(state="next", activated_at=None, retiring_at=None, retired_at=None)
                | Q(state="active", activated_at__isnull=False, retiring_at=None, retired_at=None)
                | Q(state="retiring", activated_at__isnull=False, retiring_at__isnull=False, retired_at=None)
                | Q(state="retired", retired_at__isnull=False),
                name="signing_key_dates_fit_state",
            ),
            models.CheckConstraint(
                condition=(Q(state__in=["next", "active"]) & ~Q(private_half=b"") & ~Q(encryption_key_id=""))
                | Q(state__in=["retiring", "retired"], private_half=b"", encryption_key_id=""),
                name="signing_key_private_half_fits_state",
            ),
        ]

    def __str__(self) -> str:
        return self.kid
