"""Which files of deleted images are to go. A new table alone: roles of the release before delete without it."""

import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("images", "0003_derivation"),
    ]

    operations = [
        migrations.CreateModel(
            name="Removal",
            fields=[
                ("name", models.CharField(editable=False, max_length=100, primary_key=True, serialize=False)),
                ("since", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
            ],
        ),
    ]
