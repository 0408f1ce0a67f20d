"""What the quota counts, compared with the records themselves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

from django.db import router, transaction
from django.db.models import Count, Exists, OuterRef, Sum

from images.models import Image, Owner
from images.upkeep.walking import PAGE

Kept = tuple[int, int]  # images, bytes of their pictures


@dataclass(frozen=True, slots=True)
class Miscount:
    """An account whose counters are not those of its records."""

    account_id: UUID
    counted: Kept
    recorded: Kept
    repaired: bool

    def __str__(self) -> str:
        counted, recorded = (f"{images} images with {size:,} bytes" for images, size in (self.counted, self.recorded))
        end = "; corrected" if self.repaired else ""
        return f"miscounted: account {self.account_id}: {counted} are counted, {recorded} are recorded{end}"


def miscounts(*, repair: bool) -> Iterator[Miscount]:
    """Every account whose counters are wrong; they are set right if `repair`.

    Those of a closed account are left: it must not have any image, and nothing here deletes one.
    """
    for account_id, counted, recorded in _compared():
        if counted != recorded and (found := _confirmed(account_id, repair=repair)):
            yield found


def _compared() -> Iterator[tuple[UUID, Kept, Kept]]:
    page = list(Owner.objects.order_by("account_id")[:PAGE])
    while page:
        recorded = _recorded([owner.account_id for owner in page])
        for owner in page:
            counted = (owner.image_count, owner.stored_bytes)
            yield owner.account_id, counted, recorded.get(owner.account_id, (0, 0))
        page = list(Owner.objects.filter(account_id__gt=page[-1].account_id).order_by("account_id")[:PAGE])
    unknown = Image.objects.filter(~Exists(Owner.objects.filter(account_id=OuterRef("owner")))).order_by("owner")
    accounts = list(unknown.values_list("owner", flat=True).distinct()[:PAGE])
    while accounts:
        for account_id, found in _recorded(accounts).items():
            yield account_id, (0, 0), found
        accounts = list(unknown.filter(owner__gt=accounts[-1]).values_list("owner", flat=True).distinct()[:PAGE])


def _recorded(accounts: list[UUID]) -> dict[UUID, Kept]:
    rows = Image.objects.filter(owner__in=accounts).order_by().values("owner")
    return {
        row["owner"]: (row["images"], row["size"]) for row in rows.annotate(images=Count("id"), size=Sum("size_bytes"))
    }


def _confirmed(account_id: UUID, *, repair: bool) -> Miscount | None:
    """The same once more, under the lock under which both change."""
    with transaction.atomic(using=router.db_for_write(Owner)):
        if repair:
            Owner.objects.locked(account_id)  # which makes it if it is missing
        owner = Owner.objects.select_for_update().filter(account_id=account_id).first() or Owner(account_id=account_id)
        counted, recorded = (owner.image_count, owner.stored_bytes), _recorded([account_id]).get(account_id, (0, 0))
        if counted == recorded:
            return None
        repair = repair and owner.closed_at is None
        if repair:
            Owner.objects.filter(pk=account_id).update(image_count=recorded[0], stored_bytes=recorded[1])
    return Miscount(account_id, counted, recorded, repair)
