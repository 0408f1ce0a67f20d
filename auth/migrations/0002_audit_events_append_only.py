"""Audit events can be written once and then neither changed nor deleted, whoever tries."""

from django.db import migrations

FORBID = """
CREATE FUNCTION credentials_forbid_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit events are append-only' USING ERRCODE = 'integrity_constraint_violation';
END
$$;
CREATE TRIGGER audit_events_append_only BEFORE UPDATE OR DELETE ON credentials_auditevent
    FOR EACH ROW EXECUTE FUNCTION credentials_forbid_change();
"""

ALLOW = """
DROP TRIGGER audit_events_append_only ON credentials_auditevent;
DROP FUNCTION credentials_forbid_change();
"""


class Migration(migrations.Migration):
    dependencies = [("credentials", "0001_accounts_sessions_keys_and_audit")]

    operations = [migrations.RunSQL(FORBID, ALLOW)]
