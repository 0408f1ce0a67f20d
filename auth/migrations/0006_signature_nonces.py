"""Which signed calls were let in."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("credentials", "0005_signing_key_rotation")]

    operations = [
        migrations.CreateModel(
            name="SignatureNonce",
            fields=[
                ("nonce", models.UUIDField(editable=False, primary_key=True, serialize=False)),
                ("expires_at", models.DateTimeField(editable=False)),
            ],
        ),
        migrations.AddIndex(
            model_name="signaturenonce",
            index=models.Index(fields=["expires_at"], name="signature_nonce_expiry"),
        ),
    ]
