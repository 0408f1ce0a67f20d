"""Whose images have changed."""

from images.models import Image, Owner
from internal.changes import ChangeFeed

feed = ChangeFeed("images_change", (Image, Owner), triggers=8)
