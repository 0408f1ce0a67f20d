"""Nonces of signed calls."""

from __future__ import annotations

from django.db import models


class SignatureNonce(models.Model):
    """A signed call that was let in, so that it is let in once only (see internal.nonces)."""

    nonce = models.UUIDField(primary_key=True, editable=False)
    expires_at = models.DateTimeField(editable=False)

    class Meta:
        indexes = [models.Index(fields=["expires_at"], name="signature_nonce_expiry")]

    def __str__(self) -> str:
        return str(self.nonce)
