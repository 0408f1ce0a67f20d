"""What staff does in the console, told by the app that it is done in, for the app that keeps the record."""

from __future__ import annotations

from django.dispatch import Signal

image_removal = Signal()
"""Sent by images *before* staff removes an image, with `request`, `account_id` and `image_id` (both UUID).

auth records it in its own database. No transaction covers both databases, so the record comes first: a removal that
then fails leaves one event too many, and none is ever missing. A receiver that raises stops the removal.
"""
