"""Which accounts have changed, and in which transaction: internal.changes. Whoever changes them, the database tells.

Not one transaction: each table is locked for itself and for a moment, so that nothing that is running can get stuck
with it. Every step can be repeated.
"""

from django.db import migrations

# `…_change_pruned` says up to which transaction changes may be missing, because they were deleted for their age.
# The functions have the search path of the migration: a copy that is loaded (pg_restore) has none.
TABLE = """
CREATE TABLE IF NOT EXISTS credentials_change (
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    account uuid NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (xid, account)
);
CREATE TABLE IF NOT EXISTS credentials_change_pruned (xid xid8 PRIMARY KEY);

CREATE OR REPLACE FUNCTION credentials_tell(accounts uuid[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF cardinality(accounts) > 1000 THEN
        accounts := ARRAY['00000000-0000-0000-0000-000000000000'::uuid];
    END IF;
    INSERT INTO credentials_change (account) SELECT unnest(accounts) ON CONFLICT DO NOTHING;
END
$$;
CREATE OR REPLACE FUNCTION credentials_tell_all() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM credentials_tell(ARRAY['00000000-0000-0000-0000-000000000000'::uuid]);
    RETURN NULL;
END
$$;
CREATE OR REPLACE FUNCTION credentials_tell_accounts() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        PERFORM credentials_tell(ARRAY(SELECT id FROM before UNION SELECT id FROM after LIMIT 1001));
    ELSE
        PERFORM credentials_tell(ARRAY(SELECT id FROM before LIMIT 1001));
    END IF;
    RETURN NULL;
END
$$;
CREATE OR REPLACE FUNCTION credentials_tell_session() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM credentials_tell(ARRAY[OLD.account_id, NEW.account_id]);
    RETURN NULL;
END
$$;
CREATE OR REPLACE FUNCTION credentials_tell_sessions() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM credentials_tell(ARRAY(
        SELECT DISTINCT account_id FROM before
        WHERE ended_at IS NULL AND expires_at > now() - interval '1 hour' LIMIT 1001
    ));
    RETURN NULL;
END
$$;
"""

ACCOUNTS = """
DROP TRIGGER IF EXISTS tell_updated ON credentials_account;
DROP TRIGGER IF EXISTS tell_deleted ON credentials_account;
DROP TRIGGER IF EXISTS tell_truncated ON credentials_account;
CREATE TRIGGER tell_updated AFTER UPDATE ON credentials_account
    REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION credentials_tell_accounts();
CREATE TRIGGER tell_deleted AFTER DELETE ON credentials_account
    REFERENCING OLD TABLE AS before FOR EACH STATEMENT EXECUTE FUNCTION credentials_tell_accounts();
CREATE TRIGGER tell_truncated AFTER TRUNCATE ON credentials_account
    FOR EACH STATEMENT EXECUTE FUNCTION credentials_tell_all();
ALTER TABLE credentials_account ENABLE ALWAYS TRIGGER tell_updated;
ALTER TABLE credentials_account ENABLE ALWAYS TRIGGER tell_deleted;
ALTER TABLE credentials_account ENABLE ALWAYS TRIGGER tell_truncated;
"""

# A session that is used gets a later end, which takes nothing away. One that is over took everything away at its end:
# deleting it a month later tells nothing new. (An access token does not outlive its session.)
SESSIONS = """
DROP TRIGGER IF EXISTS tell_updated ON credentials_session;
DROP TRIGGER IF EXISTS tell_deleted ON credentials_session;
DROP TRIGGER IF EXISTS tell_truncated ON credentials_session;
CREATE TRIGGER tell_updated AFTER UPDATE ON credentials_session
    FOR EACH ROW WHEN (
        OLD.ended_at IS DISTINCT FROM NEW.ended_at OR NEW.expires_at < OLD.expires_at
        OR NEW.account_id <> OLD.account_id OR NEW.id <> OLD.id
    ) EXECUTE FUNCTION credentials_tell_session();
CREATE TRIGGER tell_deleted AFTER DELETE ON credentials_session
    REFERENCING OLD TABLE AS before FOR EACH STATEMENT EXECUTE FUNCTION credentials_tell_sessions();
CREATE TRIGGER tell_truncated AFTER TRUNCATE ON credentials_session
    FOR EACH STATEMENT EXECUTE FUNCTION credentials_tell_all();
ALTER TABLE credentials_session ENABLE ALWAYS TRIGGER tell_updated;
ALTER TABLE credentials_session ENABLE ALWAYS TRIGGER tell_deleted;
ALTER TABLE credentials_session ENABLE ALWAYS TRIGGER tell_truncated;
"""

# A key that is withdrawn takes its tokens along, whoever they belong to. Keys change every few months.
KEYS = """
DROP TRIGGER IF EXISTS tell_updated ON credentials_signingkey;
DROP TRIGGER IF EXISTS tell_deleted ON credentials_signingkey;
DROP TRIGGER IF EXISTS tell_truncated ON credentials_signingkey;
CREATE TRIGGER tell_updated AFTER UPDATE ON credentials_signingkey
    FOR EACH ROW WHEN (
        (NEW.state = 'retired' AND OLD.state <> 'retired') OR NEW.kid <> OLD.kid OR NEW.public_jwk <> OLD.public_jwk
    ) EXECUTE FUNCTION credentials_tell_all();
CREATE TRIGGER tell_deleted AFTER DELETE ON credentials_signingkey
    FOR EACH STATEMENT EXECUTE FUNCTION credentials_tell_all();
CREATE TRIGGER tell_truncated AFTER TRUNCATE ON credentials_signingkey
    FOR EACH STATEMENT EXECUTE FUNCTION credentials_tell_all();
ALTER TABLE credentials_signingkey ENABLE ALWAYS TRIGGER tell_updated;
ALTER TABLE credentials_signingkey ENABLE ALWAYS TRIGGER tell_deleted;
ALTER TABLE credentials_signingkey ENABLE ALWAYS TRIGGER tell_truncated;
"""

NO_TABLE = """
DROP FUNCTION IF EXISTS credentials_tell_accounts(), credentials_tell_session(), credentials_tell_sessions(),
    credentials_tell_all(), credentials_tell(uuid[]);
DROP TABLE IF EXISTS credentials_change, credentials_change_pruned;
"""


def no_triggers(table: str) -> str:
    """Takes the triggers away again."""
    return "".join(f"DROP TRIGGER IF EXISTS tell_{what} ON {table};" for what in ("updated", "deleted", "truncated"))


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("credentials", "0007_staff_changes_are_events")]

    operations = [
        migrations.RunSQL(TABLE, NO_TABLE),
        migrations.RunSQL(ACCOUNTS, no_triggers("credentials_account")),
        migrations.RunSQL(SESSIONS, no_triggers("credentials_session")),
        migrations.RunSQL(KEYS, no_triggers("credentials_signingkey")),
    ]
