"""The profile as the API shows it, put together from what both services know, or from what one of them knows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from internal.contracts import Account, StoredImage

# What a limited profile may lack, by the service that would have known it.
PART_OF_SERVICE = {"auth": "account", "images": "image"}


@dataclass(frozen=True)
class Profile:
    """`limited` names the parts that could not be had; their members are then null."""

    id: UUID
    name: str | None
    email: str | None
    created_at: datetime | None
    last_sign_in_at: datetime | None
    previous_sign_in_at: datetime | None
    image: StoredImage | None
    limited: tuple[str, ...]
    notice: str | None = None


def profile_of(
    account: Account,
    image: StoredImage | None,
    *,
    limited: tuple[str, ...] = (),
    notice: str | None = None,
) -> Profile:
    return Profile(
        id=account.id,
        name=account.name,
        email=account.email,
        created_at=account.created_at,
        last_sign_in_at=account.last_sign_in_at,
        previous_sign_in_at=account.previous_sign_in_at,
        image=image,
        limited=limited,
        notice=notice,
    )


def profile_without_account(account_id: UUID, image: StoredImage | None, *, limited: tuple[str, ...]) -> Profile:
    """What is left when auth does not answer: the id, which the token proves, and the image."""
    return Profile(
        id=account_id,
        name=None,
        email=None,
        created_at=None,
        last_sign_in_at=None,
        previous_sign_in_at=None,
        image=image,
        limited=limited,
    )
