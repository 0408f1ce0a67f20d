"""The environment, read with types: every fault is collected and all of them are reported at once.

Each variable may come from the environment as NAME or, better for secrets, from the file that NAME_FILE names.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections import defaultdict
from typing import Any
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured
from environs import EnvError, FileAwareEnv
from environs.exceptions import EnvValidationError

from internal.keys import NamedKey

_KEY_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_KEY_BYTES = 32


class EnvironmentFault(ImproperlyConfigured):
    """Variables of the environment are missing or wrong; the message has one line for each of them."""


class Environment(FileAwareEnv):
    """Reads the environment of one role; `seal()` ends the reading and raises EnvironmentFault for what was wrong."""

    def __init__(self) -> None:
        super().__init__(eager=False, strip_whitespace=True)
        self.add_parser("secret", _secret)
        self.add_parser("named_keys", _named_keys)
        self.add_parser("base_url", _base_url)
        self.add_parser("service_url", _service_url)
        self.add_parser("origins", _origins)
        self.add_parser("postgres_url", _postgres_url)
        self.add_parser("whole", _whole)

    def _get_value(self, env_key: str, default: Any) -> Any:
        try:
            return super()._get_value(env_key, default)
        except (ValueError, OSError):
            self._errors[env_key].append(f"the file that {env_key}_FILE names cannot be read as text")
            return "" if default is ... else default

    def fault(self, name: str, message: str) -> None:
        """Says that a variable is wrong, where only several of them together show it; `seal` tells all of them."""
        if not self._errors.get(name):
            self._errors[name].append(message)

    def seal(self) -> None:
        """Ends the reading.

        Raises:
            EnvironmentFault: naming every variable that is missing or wrong, and what is allowed.
        """
        try:
            super().seal()
        except EnvValidationError as error:
            faults: dict[str, list[str]] = dict(error.error_messages)  # type: ignore[arg-type]
            # Django imports settings that failed once more, and must hear the same again.
            self._sealed, self._errors = False, defaultdict(list, faults)
            lines = [f"  {name}: {_sentence(messages[0])}" for name, messages in sorted(faults.items())]
            heading = "The environment of this role has faults (NAME may also be given as NAME_FILE):"
            raise EnvironmentFault("\n".join([heading, *lines])) from None


def _sentence(message: str) -> str:
    return "it is not set, and it has no default" if message == "Environment variable not set." else message


def _secret(value: str, *, at_least: int = 1) -> str:
    if len(value) < at_least:
        raise EnvError(f"it has {len(value)} characters; at least {at_least} random ones are needed")
    return value


def _named_keys(value: str) -> tuple[NamedKey, ...]:
    """`id:base64,id:base64`: 32 random bytes each; the first one is used, all of them are accepted."""
    keys: list[NamedKey] = []
    for item in filter(None, (part.strip() for part in value.split(","))):
        key_id, colon, encoded = item.partition(":")
        if not colon or not _KEY_ID.fullmatch(key_id):
            raise EnvError("each key is written id:base64, the id of letters, digits, '.', '_' or '-'")
        try:
            secret = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            raise EnvError(f"the key {key_id!r} is not base64") from None
        if len(secret) != _KEY_BYTES:
            raise EnvError(f"the key {key_id!r} has {len(secret)} bytes; {_KEY_BYTES} random ones are needed")
        if key_id in {key.id for key in keys}:
            raise EnvError(f"the key id {key_id!r} occurs twice")
        keys.append(NamedKey(key_id, secret))
    if not keys:
        raise EnvError("at least one key is needed, written id:base64 (32 random bytes)")
    return tuple(keys)


def _base_url(value: str) -> str:
    """The address of a service: http(s)://host[:port], without a path."""
    try:
        parts = urlsplit(value)
        port_is_number = parts.port is None or parts.port > 0
    except ValueError:
        parts, port_is_number = urlsplit(""), False
    if parts.scheme not in {"http", "https"} or not parts.hostname or not port_is_number:
        raise EnvError("it must be an address such as http://host:8001")
    if parts.path not in {"", "/"} or parts.query or parts.fragment or parts.username:
        raise EnvError("it must end after the host and port: no path, query or user")
    return value.rstrip("/")


def _service_url(value: str) -> str:
    """The address of another role: plain HTTP, whose deadlines hold to the socket."""
    address = _base_url(value)
    if not address.startswith("http://"):
        raise EnvError("it must be an http:// address: roles talk plain HTTP, encrypting it is the network's work")
    return address


def _origins(value: str) -> list[str]:
    origins = [part.strip() for part in value.split(",") if part.strip()]
    return [_base_url(origin) for origin in origins]


def _whole(value: str | int, *, at_least: int, at_most: int) -> int:
    try:
        number = int(value)
    except ValueError:
        raise EnvError(f"it must be a whole number from {at_least} to {at_most}") from None
    if not at_least <= number <= at_most:
        raise EnvError(f"it is {number}; a whole number from {at_least} to {at_most} is allowed")
    return number


def _postgres_url(value: str) -> dict[str, str]:
    """postgres://user:password@host:port/name as the connection part of a Django DATABASES entry."""
    try:
        parts = urlsplit(value)
        port = parts.port or 5432
    except ValueError:
        parts, port = urlsplit(""), 5432
    name = unquote(parts.path.removeprefix("/"))
    if parts.scheme not in {"postgres", "postgresql"} or not parts.hostname or not name or "/" in name:
        raise EnvError("it must be an address such as postgres://user:password@host:5432/name")
    return {
        "NAME": name,
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname,
        "PORT": str(port),
    }
