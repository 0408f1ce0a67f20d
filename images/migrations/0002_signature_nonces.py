"""Which signed calls were let in."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("images", "0001_owners_and_images"),
    ]

    operations = [
        migrations.CreateModel(
            name="SignatureNonce",
            fields=[
                ("nonce", models.UUIDField(editable=False, primary_key=True, serialize=False)),
                ("expires_at", models.DateTimeField(editable=False)),
            ],
            options={
                "indexes": [models.Index(fields=["expires_at"], name="image_nonce_expiry")],
            },
        ),
    ]
