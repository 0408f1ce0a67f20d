"""Refresh tokens."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from auth.models.session import Session


class RefreshToken(models.Model):
    """A refresh token that was handed out, known by its SHA-256 only (32 bytes).

    Used ones stay as long as their session, so that a second use is recognised. Tokens of one generation are siblings:
    one browser refreshed several times at once.
    """

    token_hash = models.BinaryField(max_length=32, unique=True)
    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="refresh_tokens")
    generation = models.PositiveIntegerField()
    created_at = models.DateTimeField(default=timezone.now)
    used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"Generation {self.generation}"
