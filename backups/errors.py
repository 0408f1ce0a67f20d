"""What ends a command in words."""

from __future__ import annotations


class Stopped(Exception):
    """The work cannot go on. The message says why, how things stand, and what to do."""
