"""Accounts."""

from __future__ import annotations

import uuid
from typing import Any

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Lower
from django.utils import timezone

from auth import emails, rows


class AccountManager(models.Manager["Account"]):
    """Finds accounts as people name them."""

    def with_email(self, email: str) -> Account | None:
        """The account of this address in any spelling (see auth.emails.email_key), or None."""
        return rows.first(self.model, "email_key = %s", [emails.email_key(email)])


class Account(models.Model):
    """A person who has registered. `email` is as the person wrote it, `email_key` what makes it unique."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=100)
    email = models.EmailField(max_length=emails.MAX_LENGTH)
    email_key = models.CharField(max_length=emails.MAX_LENGTH, editable=False)
    password_hash = models.CharField(max_length=256, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    last_sign_in_at = models.DateTimeField(null=True, blank=True, editable=False)
    previous_sign_in_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = AccountManager()

    class Meta:
        ordering = ["-created_at", "id"]
        constraints = [
            models.UniqueConstraint(fields=["email_key"], name="account_email_unique"),
            models.CheckConstraint(condition=Q(email_key=Lower("email_key")), name="account_email_key_lower"),
            models.CheckConstraint(
                condition=~Q(name="") & ~Q(email_key="") & ~Q(password_hash=""), name="account_complete"
            ),
            models.CheckConstraint(
                condition=Q(previous_sign_in_at__isnull=True)
                | Q(last_sign_in_at__isnull=False, previous_sign_in_at__lte=F("last_sign_in_at")),
                name="account_sign_ins_in_order",
            ),
        ]
        indexes = [models.Index(fields=["-created_at", "id"], name="account_newest")]

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Keeps `email_key` in step with `email`."""
        self.email_key = emails.email_key(self.email)
        if kwargs.get("update_fields") and "email" in kwargs["update_fields"]:
            kwargs["update_fields"] = {*kwargs["update_fields"], "email_key"}
        super().save(*args, **kwargs)
