"""Whose account or session has changed."""

from auth.models import Account, Session
from internal.changes import ChangeFeed

feed = ChangeFeed("credentials_change", (Account, Session), triggers=6)
