"""What the images role begins with: images and their owners."""

import uuid

import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Image",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("owner", models.UUIDField(editable=False, verbose_name="account")),
                (
                    "content_type",
                    models.CharField(
                        choices=[
                            ("image/png", "PNG"),
                            ("image/jpeg", "JPEG"),
                            ("image/webp", "WebP"),
                            ("image/gif", "GIF"),
                        ],
                        editable=False,
                        max_length=32,
                        verbose_name="format",
                    ),
                ),
                ("extension", models.CharField(editable=False, max_length=8)),
                ("width", models.PositiveIntegerField(editable=False)),
                ("height", models.PositiveIntegerField(editable=False)),
                ("size_bytes", models.PositiveBigIntegerField(editable=False, verbose_name="size in bytes")),
                ("sha256", models.CharField(editable=False, max_length=64, verbose_name="SHA-256")),
                ("animated", models.BooleanField(editable=False)),
                ("is_profile_image", models.BooleanField(default=False, editable=False, verbose_name="profile image")),
                (
                    "created_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False, verbose_name="stored at"),
                ),
            ],
            options={
                "ordering": ["-created_at", "-id"],
                "indexes": [
                    models.Index(
                        models.F("owner"),
                        models.OrderBy(models.F("created_at"), descending=True),
                        models.OrderBy(models.F("id"), descending=True),
                        name="image_newest_of_owner",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("is_profile_image", True)),
                        fields=("owner",),
                        name="image_one_profile_per_owner",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("content_type", "image/png"), ("extension", "png")),
                            models.Q(("content_type", "image/jpeg"), ("extension", "jpg")),
                            models.Q(("content_type", "image/webp"), ("extension", "webp")),
                            models.Q(("content_type", "image/gif"), ("extension", "gif")),
                            _connector="OR",
                        ),
                        name="image_type_fits_extension",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("height__gte", 1), ("size_bytes__gte", 1), ("width__gte", 1)),
                        name="image_has_pixels_and_bytes",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("sha256__regex", "^[0-9a-f]{64}$")), name="image_sha256_is_hexadecimal"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Owner",
            fields=[
                ("account_id", models.UUIDField(editable=False, primary_key=True, serialize=False)),
                ("image_count", models.PositiveIntegerField(default=0, editable=False)),
                ("stored_bytes", models.PositiveBigIntegerField(default=0, editable=False)),
                ("closed_at", models.DateTimeField(blank=True, editable=False, null=True)),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("closed_at", None), models.Q(("image_count", 0), ("stored_bytes", 0)), _connector="OR"
                        ),
                        name="owner_closed_keeps_nothing",
                    )
                ],
            },
        ),
    ]
