"""Keys that do not sign any more lose their private halves; nothing brings these back, and nobody needs them."""

from __future__ import annotations

from typing import Any

from django.db import migrations


def erase(apps: Any, schema_editor: Any) -> None:
    """Empties what migration 0005 wants empty."""
    keys = apps.get_model("credentials", "SigningKey").objects.using(schema_editor.connection.alias)
    keys.filter(state__in=["retiring", "retired"]).update(private_half=b"", encryption_key_id="")


class Migration(migrations.Migration):
    dependencies = [("credentials", "0003_audit_events_kept_for_a_time")]

    operations = [migrations.RunPython(erase, migrations.RunPython.noop)]
