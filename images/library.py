"""What can be done with a person's images. Everything here is about one owner; another's image does not exist.

The order of things: bytes are durable before their record commits, and a record is gone before its bytes are. A crash
in between leaves at most bytes without a record; never a record without its bytes. The bytes of what was deleted are
known by name until they are gone (images.removals); other bytes without a record are removed by images.upkeep.reaping,
however long an upload may have been held up: see `_record`.
"""

from __future__ import annotations

from typing import BinaryIO
from uuid import UUID, uuid4

import structlog
from django.core.files import File
from django.db import connections, models, router, transaction
from django.db.models import Q
from django.utils import timezone

from images import cursors, decoding, derivatives, faults, limits, removals, store
from images.models import Image, Owner
from internal.context import current_deadline
from internal.contracts import ImagePage, StoredImage
from internal.problems import Problem, ProblemError, invalid_field, require_time_left

log = structlog.get_logger(__name__)

DEFAULT_PAGE, LARGEST_PAGE = 24, 100  # images


def validate_upload(source: BinaryIO) -> None:
    """Judges a file as `store_image` would, and keeps nothing.

    Raises:
        ProblemError: not_an_image, too_many_pixels, too_many_frames, storage_full, busy, deadline_exceeded.
    """
    with store.failures_named():
        decoding.check(source)


def store_image(owner: UUID, source: BinaryIO, *, as_profile_image: bool = False) -> StoredImage:
    """Stores a picture with its avatar and card. When this returns, bytes and record are durable.

    Raises:
        ProblemError: as for `validate_upload`; image_quota_exceeded; conflict if the account is being closed;
            storage_unavailable.
    """
    _check_room(Owner.objects.filter(account_id=owner).first(), 0)
    _release_connection()
    with store.failures_named(), decoding.converted(source) as converted:
        image = Image(
            id=uuid4(),
            owner=owner,
            content_type=converted.kind.content_type,
            extension=converted.kind.extension,
            width=converted.width,
            height=converted.height,
            size_bytes=converted.original.size,
            sha256=converted.original.sha256,
            animated=converted.animated,
            is_profile_image=as_profile_image,
            derivation=derivatives.DERIVATION,
        )
        if current_deadline().remaining() <= 0:
            raise faults.deadline_exceeded("Storing the image took too long. Nothing was stored; try again later.")
        pieces = (converted.original, converted.avatar, converted.card)
        store.put({name: piece.file for name, piece in zip(image.stored_names, pieces, strict=True)})
    _record(image)
    log.info("image_stored", size_bytes=image.size_bytes, content_type=image.content_type)
    return image.to_contract()


def _record(image: Image) -> None:
    """Commits the record of bytes that are stored; removes the bytes if it cannot be committed.

    The reaper takes old bytes without a record for left behind. It removes the picture first, and holds the id
    meanwhile: a picture that is there while this transaction holds the id stays until the record is committed.
    """
    committing = False
    try:
        with transaction.atomic(using=router.db_for_write(Image)):
            Image.objects.hold(image.id)
            _check_still_stored(image)
            owner = Owner.objects.locked(image.owner)
            _check_room(owner, image.size_bytes)
            if image.is_profile_image:
                _clear_profile_flag(image.owner)
            image.save(force_insert=True)
            owner.count(images=1, stored_bytes=image.size_bytes)
            require_time_left()
            committing = True
    except BaseException:
        if committing:
            # The answer to COMMIT was lost: the record may exist, so its bytes must stay.
            log.error("image_commit_unknown", sha256=image.sha256)
        else:
            store.remove(image.stored_names)
        raise


def store_derivatives(image_id: UUID, avatar: BinaryIO, card: BinaryIO) -> bool:
    """Gives an image the avatar and card of now: stores them, changes its record, then removes the ones before.

    False if the image was deleted meanwhile; then nothing stays. What a crash leaves behind, the reaper removes.

    Raises:
        ProblemError: storage_full, storage_unavailable.
    """
    using = router.db_for_write(Image)
    with transaction.atomic(using=using):
        Image.objects.hold(image_id)  # from here on nobody else takes the new bytes for left behind, nor writes them
        image = Image.objects.filter(id=image_id).first()
        if image is None:
            return False
        before = image.stored_names[1:]
        image.derivation = derivatives.DERIVATION
        after = image.stored_names[1:]
        removals.revoke(after)
        with store.failures_named():
            for name, file in zip(after, (avatar, card), strict=True):
                store.storage().save(name, File(file))
        Owner.objects.locked(image.owner)
        changed = Image.objects.filter(id=image_id).update(derivation=image.derivation)
        if changed and before != after:
            removals.schedule(before)
    if not changed:
        store.remove(after)
    return bool(changed)


def _check_still_stored(image: Image) -> None:
    with store.failures_named():
        there = store.look(image.stored_names[0])
    if there is None:
        raise faults.deadline_exceeded("Storing the image took too long. Nothing was stored; try again later.")


def _release_connection() -> None:
    """Gives the connection back to the pool: the pictures of others wait for their turn, and need none meanwhile."""
    connection = connections[router.db_for_write(Image)]
    if not connection.in_atomic_block:
        connection.close()


def _check_room(owner: Owner | None, size: int) -> None:
    if owner is None:
        return
    if owner.closed_at is not None:
        raise ProblemError(Problem("conflict", "This account is being closed: nothing can be stored for it."))
    if owner.image_count >= limits.MAX_IMAGES:
        raise faults.quota_exceeded(
            f"You have stored {limits.MAX_IMAGES} images, which is all there may be. Delete one first."
        )
    if owner.stored_bytes + size > limits.MAX_STORED_BYTES:
        raise faults.quota_exceeded(
            f"Your images would take more than {limits.MAX_STORED_BYTES // 1024**3} GB. Delete some first."
        )


def list_images(owner: UUID, *, cursor: str | None = None, limit: int = DEFAULT_PAGE) -> ImagePage:
    """A page of an owner's images, newest first: `limit` of them, from behind the place that `cursor` names.

    Raises:
        ProblemError: invalid_input for a limit or a cursor that is none.
    """
    if not 1 <= limit <= LARGEST_PAGE:
        raise ProblemError(invalid_field("limit", "out_of_range", f"Give a whole number from 1 to {LARGEST_PAGE}."))
    images = Image.objects.of(owner)
    if cursor is not None:
        try:
            place = cursors.decode(cursor)
        except ValueError:
            message = "This is not a cursor of this list. Start without one."
            raise ProblemError(invalid_field("cursor", "invalid", message)) from None
        # What the second condition says already, the first says in a way in which the index can be entered there.
        images = images.filter(created_at__lte=place.created_at).filter(
            Q(created_at__lt=place.created_at) | Q(id__lt=place.id)
        )
    total = Owner.objects.filter(account_id=owner).values_list("image_count", flat=True).first()
    page = list(images[: limit + 1])
    next_cursor = None
    if len(page) > limit:
        page.pop()
        next_cursor = cursors.encode(cursors.Position(page[-1].created_at, page[-1].id))
    return ImagePage(items=tuple(image.to_contract() for image in page), next_cursor=next_cursor, total=total or 0)


def get_image(owner: UUID, image_id: UUID) -> StoredImage:
    """One of the owner's images.

    Raises:
        ProblemError: not_found.
    """
    return _one_of(Image.objects.of(owner), image_id).to_contract()


def delete_image(owner: UUID, image_id: UUID) -> None:
    """Removes one of the owner's images; the bytes go when the record is gone for good.

    Raises:
        ProblemError: not_found.
    """
    with transaction.atomic(using=router.db_for_write(Image)):
        keeper = Owner.objects.locked(owner)
        _delete(keeper, [_one_of(Image.objects.of(owner), image_id)])
        require_time_left()


def profile_image(owner: UUID) -> StoredImage | None:
    """The owner's profile image; None if there is none."""
    image = Image.objects.filter(owner=owner, is_profile_image=True).first()
    return None if image is None else image.to_contract()


def set_profile_image(owner: UUID, image_id: UUID) -> StoredImage:
    """Makes one of the owner's images the profile image, instead of the one before.

    Raises:
        ProblemError: not_found.
    """
    with transaction.atomic(using=router.db_for_write(Image)):
        Owner.objects.locked(owner)
        image = _one_of(Image.objects.of(owner), image_id)
        _clear_profile_flag(owner)
        image.is_profile_image = True
        image.save(update_fields=["is_profile_image"])
        require_time_left()
    return image.to_contract()


def clear_profile_image(owner: UUID) -> None:
    """The owner has no profile image any more; the image itself stays."""
    with transaction.atomic(using=router.db_for_write(Image)):
        Owner.objects.locked(owner)
        _clear_profile_flag(owner)
        require_time_left()


def close_account(owner: UUID) -> None:
    """Removes every image of the owner, and refuses whatever is uploaded for it later. May be called again."""
    with transaction.atomic(using=router.db_for_write(Image)):
        keeper = Owner.objects.locked(owner)
        images = list(Image.objects.of(owner))
        _delete(keeper, images)
        Owner.objects.filter(pk=keeper.pk, closed_at=None).update(closed_at=timezone.now())
        require_time_left()
    log.info("account_images_removed", images=len(images))


def _one_of(images: models.QuerySet[Image], image_id: UUID) -> Image:
    image = images.filter(id=image_id).first()
    if image is None:
        raise ProblemError(Problem("not_found", "You have no image with this id."))
    return image


def _clear_profile_flag(owner: UUID) -> None:
    Image.objects.filter(owner=owner, is_profile_image=True).update(is_profile_image=False)


def _delete(keeper: Owner, images: list[Image]) -> None:
    """Deletes records under the owner's lock, and has their bytes removed when that has committed."""
    if not images:
        return
    Image.objects.filter(id__in=[image.id for image in images]).delete()
    keeper.count(images=-len(images), stored_bytes=-sum(image.size_bytes for image in images))
    removals.schedule(name for image in images for name in image.stored_names)
