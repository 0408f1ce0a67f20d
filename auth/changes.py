"""Whose account or session has changed; everybody's, where a signing key has: tokens of it may not be good any more."""

from auth.models import Account, Session, SigningKey
from internal.changes import ChangeFeed

feed = ChangeFeed("credentials_change", (Account, Session, SigningKey), triggers=9)
