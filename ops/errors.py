"""The one error that the commands show to a person."""


class OperatorError(Exception):
    """Something cannot be done. The message says what, why, and what to do about it."""
