"""One next key at most; private halves exactly where a key signs or is yet to sign."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("credentials", "0004_retired_private_halves_erased"),
    ]

    operations = [
        migrations.AlterField(
            model_name="signingkey",
            name="encryption_key_id",
            field=models.CharField(blank=True, max_length=64),
        ),
        migrations.AlterField(
            model_name="signingkey",
            name="private_half",
            field=models.BinaryField(blank=True, verbose_name="encrypted private half"),
        ),
        migrations.AddConstraint(
            model_name="signingkey",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state", "next")), fields=("state",), name="signing_key_one_next"
            ),
        ),
        migrations.AddConstraint(
            model_name="signingkey",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("state__in", ["next", "active"]),
                        models.Q(("private_half", b""), _negated=True),
                        models.Q(("encryption_key_id", ""), _negated=True),
                    ),
                    models.Q(("encryption_key_id", ""), ("private_half", b""), ("state__in", ["retiring", "retired"])),
                    _connector="OR",
                ),
                name="signing_key_private_half_fits_state",
            ),
        ),
    ]
