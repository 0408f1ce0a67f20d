"""What the images role records: who keeps how much, and each stored image."""

from __future__ import annotations

from uuid import UUID, uuid4

from django.db import connections, models, router
from django.db.models import F, Q
from django.utils import timezone

from images import store
from internal.contracts import StoredImage


class OwnerManager(models.Manager["Owner"]):
    """Finds owners."""

    def locked(self, account_id: UUID) -> Owner:
        """The owner's row, locked until the end of the transaction; made first where it is missing."""
        locked = self.select_for_update()
        owner = locked.filter(account_id=account_id).first()
        if owner is None:
            self.bulk_create([Owner(account_id=account_id)], ignore_conflicts=True)
            owner = locked.get(account_id=account_id)
        return owner


class Owner(models.Model):
    """An account as this role knows it: how much it keeps, and whether it was closed.

    The row is the lock under which its images change, so that quotas are exact and nothing is stored after closing. It
    stays when the account is closed: an access token outlives its account by some minutes.
    """

    account_id = models.UUIDField(primary_key=True, editable=False)
    image_count = models.PositiveIntegerField(default=0, editable=False)
    stored_bytes = models.PositiveBigIntegerField(default=0, editable=False)
    closed_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = OwnerManager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="owner_closed_keeps_nothing",
                condition=Q(closed_at=None) | Q(image_count=0, stored_bytes=0),
            )
        ]

    def __str__(self) -> str:
        return str(self.account_id)

    def count(self, *, images: int, stored_bytes: int) -> None:
        """Adds to what the owner keeps; negative numbers take away."""
        Owner.objects.filter(pk=self.pk).update(
            image_count=F("image_count") + images, stored_bytes=F("stored_bytes") + stored_bytes
        )


class ImageManager(models.Manager["Image"]):
    """Finds images."""

    def of(self, owner: UUID) -> models.QuerySet[Image]:
        """The images of one account, newest first."""
        return self.filter(owner=owner).order_by("-created_at", "-id")

    def hold(self, image_id: UUID) -> None:
        """Waits until nobody else holds this id, and holds it until the end of the transaction.

        Who makes a record of bytes that are stored, and who removes bytes because they have no record, hold their id.
        """
        with connections[router.db_for_write(self.model)].cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [int.from_bytes(image_id.bytes[:8], signed=True)])


class Image(models.Model):
    """A stored image: what its bytes are, and whose.

    `size_bytes` and `sha256` are of the stored picture; `derivation` says which avatar and card are stored beside it
    (images.derivatives).
    """

    class ContentType(models.TextChoices):
        """The accepted formats."""

        PNG = "image/png", "PNG"
        JPEG = "image/jpeg", "JPEG"
        WEBP = "image/webp", "WebP"
        GIF = "image/gif", "GIF"

    id = models.UUIDField(primary_key=True, default=uuid4, editable=False)
    owner = models.UUIDField("account", editable=False)
    content_type = models.CharField("format", max_length=32, choices=ContentType.choices, editable=False)
    extension = models.CharField(max_length=8, editable=False)
    width = models.PositiveIntegerField(editable=False)
    height = models.PositiveIntegerField(editable=False)
    size_bytes = models.PositiveBigIntegerField("size in bytes", editable=False)
    sha256 = models.CharField("SHA-256", max_length=64, editable=False)
    animated = models.BooleanField(editable=False)
    is_profile_image = models.BooleanField("profile image", default=False, editable=False)
    derivation = models.PositiveSmallIntegerField(default=1, db_default=1, editable=False)
    created_at = models.DateTimeField("stored at", default=timezone.now, editable=False)

    objects = ImageManager()

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [models.Index(F("owner"), F("created_at").desc(), F("id").desc(), name="image_newest_of_owner")]
        constraints = [
            models.UniqueConstraint(
                name="image_one_profile_per_owner", fields=["owner"], condition=Q(is_profile_image=True)
            ),
            models.CheckConstraint(
                name="image_type_fits_extension",
                condition=Q(content_type="image/png", extension="png")
                | Q(content_type="image/jpeg", extension="jpg")
                | Q(content_type="image/webp", extension="webp")
                | Q(content_type="image/gif", extension="gif"),
            ),
            models.CheckConstraint(
                name="image_has_pixels_and_bytes", condition=Q(width__gte=1, height__gte=1, size_bytes__gte=1)
            ),
            models.CheckConstraint(name="image_derivations_count_from_one", condition=Q(derivation__gte=1)),
            models.CheckConstraint(name="image_sha256_is_hexadecimal", condition=Q(sha256__regex=r"^[0-9a-f]{64}$")),
        ]

    def __str__(self) -> str:
        return f"{self.id}.{self.extension}"

    @property
    def stored_names(self) -> tuple[str, str, str]:
        """The names of picture, avatar and card in the store."""
        return store.names(self.id, self.extension, self.derivation)

    def to_contract(self) -> StoredImage:
        """The image as other roles know it."""
        path, avatar_path, card_path = (f"/{name}" for name in self.stored_names)
        return StoredImage(
            id=self.id,
            content_type=self.content_type,
            width=self.width,
            height=self.height,
            size_bytes=self.size_bytes,
            animated=self.animated,
            created_at=self.created_at,
            is_profile_image=self.is_profile_image,
            path=path,
            avatar_path=avatar_path,
            card_path=card_path,
        )


class Removal(models.Model):
    """A file of a deleted image that is to go (images.removals). It is written in the transaction that deletes the
    record, and deleted when the file is gone.
    """

    name = models.CharField(max_length=100, primary_key=True, editable=False)
    since = models.DateTimeField(default=timezone.now, editable=False)

    def __str__(self) -> str:
        return self.name


class SignatureNonce(models.Model):
    """A signed call that was let in, so that it is let in once only (see internal.nonces)."""

    nonce = models.UUIDField(primary_key=True, editable=False)
    expires_at = models.DateTimeField(editable=False)

    class Meta:
        indexes = [models.Index(fields=["expires_at"], name="image_nonce_expiry")]

    def __str__(self) -> str:
        return str(self.nonce)
