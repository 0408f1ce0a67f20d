"""The console's pages about images. Staff look, and remove what must go; nothing is edited by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from images import library
from images.models import Image, Owner
from internal import context
from internal.staff import image_removal

if TYPE_CHECKING:  # Django's own class takes no type arguments at run time
    ModelAdmin = admin.ModelAdmin[Any]
else:
    ModelAdmin = admin.ModelAdmin


class Records(ModelAdmin):
    """Pages of records that the images role writes, and nobody else."""

    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nothing is added here."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nothing is changed here."""
        return False


class AlreadyClosed(admin.SimpleListFilter):
    """Accounts by whether they were closed."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> list[tuple[str, str]]:
        """The choices."""
        return [("open", "Open"), ("closed", "Closed")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Owner]) -> QuerySet[Owner]:
        """The chosen ones."""
        if self.value() in {"open", "closed"}:
            return queryset.filter(closed_at__isnull=self.value() == "open")
        return queryset


@admin.register(Image)
class ImageAdmin(Records):
    """Every stored image, and its removal."""

    list_display = [
        "thumbnail", "id", "account", "content_type", "pixels", "size", "is_profile_image", "created_at"
    ]  # fmt: skip
    list_display_links = ["thumbnail", "id"]
    list_filter = ["content_type", "animated", "is_profile_image", "created_at"]
    search_fields = ["id__startswith", "owner__startswith"]
    search_help_text = "The id of an image or of an account, or how one begins."
    list_per_page = 50
    fields = [
        "picture", "id", "account", "content_type", "animated", "pixels", "size", "sha256", "is_profile_image",
        "derivation", "created_at",
    ]  # fmt: skip
    readonly_fields = ["picture", "account", "pixels", "size"]

    @admin.display(description="image")
    def thumbnail(self, image: Image) -> SafeString:
        """The avatar, small."""
        return format_html(
            '<img src="{}" width="64" height="64" loading="lazy" alt="Image {}">',
            settings.UPLOADS_URL + image.to_contract().avatar_path,
            image.id,
        )

    @admin.display(description="image")
    def picture(self, image: Image) -> SafeString:
        """The card, leading to the picture itself."""
        stored = image.to_contract()
        return format_html(
            '<a href="{}"><img src="{}" alt="Image {}"></a>',
            settings.UPLOADS_URL + stored.path,
            settings.UPLOADS_URL + stored.card_path,
            image.id,
        )

    @admin.display(description="account", ordering="owner")
    def account(self, image: Image) -> SafeString:
        """Whose it is, leading to everything of theirs."""
        return format_html(
            '<a href="{}?q={}">{}</a>', reverse("admin:images_image_changelist"), image.owner, image.owner
        )

    @admin.display(description="pixels")
    def pixels(self, image: Image) -> str:
        """Width by height."""
        return f"{image.width} by {image.height}"

    @admin.display(description="size", ordering="size_bytes")
    def size(self, image: Image) -> str:
        """How much the picture takes."""
        return filesizeformat(image.size_bytes)

    def delete_model(self, request: HttpRequest, obj: Image) -> None:
        """Removes the image as its owner would: record, bytes, and what the account keeps. Recorded by auth first."""
        image_removal.send(sender=Image, request=request, account_id=obj.owner, image_id=obj.id)
        with context.deadline_of(context.REQUEST_DEADLINE):  # for each of many: staff wait until all are gone
            library.delete_image(obj.owner, obj.id)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Image]) -> None:
        """The same for several."""
        for image in queryset:
            self.delete_model(request, image)


@admin.register(Owner)
class OwnerAdmin(Records):
    """How much each account keeps."""

    list_display = ["account_id", "images", "stored", "closed_at"]
    list_filter = [AlreadyClosed]
    search_fields = ["account_id__startswith"]
    search_help_text = "The id of an account, or how it begins."
    ordering = ["-stored_bytes", "account_id"]
    fields = ["account_id", "images", "stored", "closed_at"]
    readonly_fields = ["images", "stored"]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Accounts are closed by their people, at the portal."""
        return False

    @admin.display(description="images", ordering="image_count")
    def images(self, owner: Owner) -> SafeString:
        """How many, leading to them."""
        return format_html(
            '<a href="{}?q={}">{}</a>', reverse("admin:images_image_changelist"), owner.account_id, owner.image_count
        )

    @admin.display(description="stored", ordering="stored_bytes")
    def stored(self, owner: Owner) -> str:
        """How much that is."""
        return filesizeformat(owner.stored_bytes)
