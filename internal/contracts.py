"""What roles tell each other, as dataclasses. JSON has ids as text and moments as ISO 8601 in UTC."""

from __future__ import annotations

import dataclasses
import datetime as dt
import types
import typing
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Self, get_args, get_origin, get_type_hints
from uuid import UUID

from internal.errors import InvalidReply


class _Malformed(ValueError):
    """A value does not have the shape that the contract gives it."""


@dataclass(frozen=True, slots=True)
class Contract:
    """The base of what crosses a service boundary; `service` is the role that answers with it."""

    service: ClassVar[str]

    def to_json(self) -> dict[str, Any]:
        """The contract as JSON members."""
        return {field.name: _encode(getattr(self, field.name)) for field in dataclasses.fields(self)}

    @classmethod
    def from_json(cls, value: Any, *, service: str = "") -> Self:
        """The contract that JSON members stand for; members that are not known are passed over.

        Args:
            value: the members.
            service: the role that answered, where several answer with this contract.

        Raises:
            InvalidReply: a member is missing or has another type.
        """
        try:
            return typing.cast(Self, _decode(cls, value, cls.__name__))
        except _Malformed as error:
            raise InvalidReply(service or cls.service, str(error)) from None


@dataclass(frozen=True, slots=True)
class Account(Contract):
    """A person's account. `previous_sign_in_at` is the sign-in before the last."""

    service = "auth"
    id: UUID
    name: str
    email: str
    created_at: dt.datetime
    last_sign_in_at: dt.datetime | None
    previous_sign_in_at: dt.datetime | None


@dataclass(frozen=True, slots=True)
class TokenGrant(Contract):
    """What a sign-in or a refresh yields; lifetimes in seconds."""

    service = "auth"
    access_token: str
    refresh_token: str
    token_type: str
    expires_in: int
    refresh_expires_in: int


@dataclass(frozen=True, slots=True)
class SignedOut(Contract):
    """Whose session has ended; nobody's, if the refresh token is not known."""

    service = "auth"
    account_id: UUID | None


@dataclass(frozen=True, slots=True)
class Session(Contract):
    """One place where a person is signed in; `current` marks the one that asks."""

    service = "auth"
    id: UUID
    device: str
    address: str
    created_at: dt.datetime
    last_used_at: dt.datetime
    expires_at: dt.datetime
    current: bool


@dataclass(frozen=True, slots=True)
class SessionList(Contract):
    """Every place where a person is signed in, last used first."""

    service = "auth"
    items: tuple[Session, ...]


@dataclass(frozen=True, slots=True)
class StoredImage(Contract):
    """A stored image. Paths start with /uploads/ and are served by `files`; sizes in pixels and bytes."""

    service = "images"
    id: UUID
    content_type: str
    width: int
    height: int
    size_bytes: int
    animated: bool
    created_at: dt.datetime
    is_profile_image: bool
    path: str
    avatar_path: str
    card_path: str


@dataclass(frozen=True, slots=True)
class ImagePage(Contract):
    """One page of a person's images, newest first; `total` counts all of them."""

    service = "images"
    items: tuple[StoredImage, ...]
    next_cursor: str | None
    total: int


@dataclass(frozen=True, slots=True)
class Changes(Contract):
    """What has changed in a role's database since an earlier answer.

    Attributes:
        epoch: positions can be compared while it is the same; another one means that everything may have changed.
        position: what to ask with next time; means nothing to anybody else.
        accounts: those whose records may have changed; empty if `all`.
        all: whether everything may have changed.
    """

    service = "auth or images"
    epoch: str
    position: str
    accounts: tuple[UUID, ...]
    all: bool


def _encode(value: Any) -> Any:
    if isinstance(value, Contract):
        return value.to_json()
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, tuple):
        return [_encode(item) for item in value]
    return value


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _decode(kind: Any, value: Any, where: str) -> Any:
    if isinstance(kind, type) and issubclass(kind, Contract):
        if not isinstance(value, dict):
            raise _Malformed(f"{where} is not an object")
        hints = _hints(typing.cast("type", kind))
        members = {}
        for field in dataclasses.fields(kind):
            if field.name not in value:
                raise _Malformed(f"{where}.{field.name} is missing")
            members[field.name] = _decode(hints[field.name], value[field.name], f"{where}.{field.name}")
        return kind(**members)
    if get_origin(kind) in {types.UnionType, typing.Union}:
        inner = next(option for option in get_args(kind) if option is not type(None))
        return None if value is None else _decode(inner, value, where)
    if get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise _Malformed(f"{where} is not a list")
        return tuple(_decode(get_args(kind)[0], item, f"{where}[{n}]") for n, item in enumerate(value))
    if kind in {UUID, dt.datetime}:
        try:
            parsed = UUID(value) if kind is UUID else dt.datetime.fromisoformat(value)
        except (TypeError, ValueError, AttributeError):
            raise _Malformed(f"{where} is not a {kind.__name__}") from None
        if isinstance(parsed, dt.datetime) and parsed.tzinfo is None:
            raise _Malformed(f"{where} has no time zone")
        return parsed
    if type(value) is not kind:
        raise _Malformed(f"{where} is not of type {kind.__name__}")
    return value
