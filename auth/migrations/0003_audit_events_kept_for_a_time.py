"""Old audit events can be deleted by whoever says so, and only old ones; the database itself records each deletion."""

from django.db import migrations, models

# `seawall.audit_pruning` is set for one transaction by auth.audit.prune. 30 days are auth.audit.MINIMUM_RETENTION.
RETAIN = """
CREATE OR REPLACE FUNCTION credentials_forbid_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND current_setting('seawall.audit_pruning', true) = 'on' THEN
        IF OLD.occurred_at < now() - interval '30 days' THEN
            RETURN OLD;
        END IF;
    END IF;
    RAISE EXCEPTION 'audit events are append-only' USING ERRCODE = 'integrity_constraint_violation';
END
$$;
CREATE TRIGGER audit_events_not_truncated BEFORE TRUNCATE ON credentials_auditevent
    FOR EACH STATEMENT EXECUTE FUNCTION credentials_forbid_change();

CREATE FUNCTION credentials_record_pruning() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO credentials_auditevent (what, occurred_at, request_id, details)
    SELECT 'audit_pruned', now(), '', jsonb_build_object(
        'removed', count(*), 'oldest', min(occurred_at), 'newest', max(occurred_at), 'database_user', session_user
    ) FROM removed HAVING count(*) > 0;
    RETURN NULL;
END
$$;
CREATE TRIGGER audit_events_pruning_recorded AFTER DELETE ON credentials_auditevent
    REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION credentials_record_pruning();
"""

FORBID = """
DROP TRIGGER audit_events_pruning_recorded ON credentials_auditevent;
DROP FUNCTION credentials_record_pruning();
DROP TRIGGER audit_events_not_truncated ON credentials_auditevent;
CREATE OR REPLACE FUNCTION credentials_forbid_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit events are append-only' USING ERRCODE = 'integrity_constraint_violation';
END
$$;
"""


class Migration(migrations.Migration):
    dependencies = [("credentials", "0002_audit_events_append_only")]

    operations = [
        migrations.RunSQL(RETAIN, FORBID),
        migrations.AlterField(
            model_name="auditevent",
            name="what",
            field=models.CharField(
                choices=[
                    ("registered", "Registered"),
                    ("registration_refused", "Registration refused: the address is taken"),
                    ("signed_in", "Signed in"),
                    ("sign_in_failed", "Sign-in failed"),
                    ("sign_in_locked", "Sign-in locked after failures"),
                    ("sign_in_unlocked", "Sign-in unlocked by staff"),
                    ("signed_out", "Signed out"),
                    ("session_ended", "Session ended"),
                    ("refresh_token_reused", "Refresh token reused"),
                    ("profile_changed", "Profile changed"),
                    ("password_changed", "Password changed"),
                    ("password_refused", "Current password was wrong"),
                    ("account_closed", "Account closed"),
                    ("signing_key_created", "Signing key created"),
                    ("staff_signed_in", "Staff signed in"),
                    ("staff_signed_out", "Staff signed out"),
                    ("staff_sign_in_failed", "Staff sign-in failed"),
                    ("image_deleted_by_staff", "Image deleted by staff"),
                    ("audit_pruned", "Old audit events deleted"),
                    ("signing_key_activated", "Signing key began to sign"),
                    ("signing_key_retiring", "Signing key stopped signing"),
                    ("signing_key_retired", "Signing key withdrawn, its tokens having expired"),
                    ("signing_key_revoked", "Signing key revoked"),
                    ("signing_key_reencrypted", "Signing key encrypted anew"),
                ],
                max_length=32,
            ),
        ),
    ]
