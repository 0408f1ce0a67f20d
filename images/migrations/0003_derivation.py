"""Which avatar and card are stored. The default is the database's: roles of the release before may go on storing."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("images", "0002_signature_nonces"),
    ]

    operations = [
        migrations.AddField(
            model_name="image",
            name="derivation",
            field=models.PositiveSmallIntegerField(db_default=1, default=1, editable=False),
        ),
        migrations.AddConstraint(
            model_name="image",
            constraint=models.CheckConstraint(
                condition=models.Q(("derivation__gte", 1)), name="image_derivations_count_from_one"
            ),
        ),
    ]
