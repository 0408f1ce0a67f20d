"""Whose images have changed, and in which transaction: internal.changes. Whoever changes them, the database tells.

Not one transaction: each table is locked for itself and for a moment, so that nothing that is running can get stuck
with it. Every step can be repeated.
"""

from django.db import migrations

# `…_change_pruned` says up to which transaction changes may be missing, because they were deleted for their age.
# The functions have the search path of the migration: a copy that is loaded (pg_restore) has none.
TABLE = """
CREATE TABLE IF NOT EXISTS images_change (
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    account uuid NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (xid, account)
);
CREATE TABLE IF NOT EXISTS images_change_pruned (xid xid8 PRIMARY KEY);

CREATE OR REPLACE FUNCTION images_tell(accounts uuid[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF cardinality(accounts) > 1000 THEN
        accounts := ARRAY['00000000-0000-0000-0000-000000000000'::uuid];
    END IF;
    INSERT INTO images_change (account) SELECT unnest(accounts) ON CONFLICT DO NOTHING;
END
$$;
CREATE OR REPLACE FUNCTION images_tell_all() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM images_tell(ARRAY['00000000-0000-0000-0000-000000000000'::uuid]);
    RETURN NULL;
END
$$;
CREATE OR REPLACE FUNCTION images_tell_images() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM images_tell(ARRAY(SELECT DISTINCT owner FROM after LIMIT 1001));
    ELSIF TG_OP = 'UPDATE' THEN
        PERFORM images_tell(ARRAY(SELECT owner FROM before UNION SELECT owner FROM after LIMIT 1001));
    ELSE
        PERFORM images_tell(ARRAY(SELECT DISTINCT owner FROM before LIMIT 1001));
    END IF;
    RETURN NULL;
END
$$;
CREATE OR REPLACE FUNCTION images_tell_owners() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM images_tell(ARRAY(SELECT account_id FROM after LIMIT 1001));
    ELSIF TG_OP = 'UPDATE' THEN
        PERFORM images_tell(ARRAY(SELECT account_id FROM before UNION SELECT account_id FROM after LIMIT 1001));
    ELSE
        PERFORM images_tell(ARRAY(SELECT account_id FROM before LIMIT 1001));
    END IF;
    RETURN NULL;
END
$$;
"""

NO_TABLE = """
DROP FUNCTION IF EXISTS images_tell_images(), images_tell_owners(), images_tell_all(), images_tell(uuid[]);
DROP TABLE IF EXISTS images_change, images_change_pruned;
"""

EVENTS = {
    "inserted": "INSERT ON {table} REFERENCING NEW TABLE AS after",
    "updated": "UPDATE ON {table} REFERENCING OLD TABLE AS before NEW TABLE AS after",
    "deleted": "DELETE ON {table} REFERENCING OLD TABLE AS before",
    "truncated": "TRUNCATE ON {table}",
}


def triggers(table: str, function: str) -> str:
    """Has every change of the table told."""
    statements = []
    for name, event in EVENTS.items():
        does = "images_tell_all" if name == "truncated" else function
        statements += [
            f"DROP TRIGGER IF EXISTS tell_{name} ON {table};",
            f"CREATE TRIGGER tell_{name} AFTER {event.format(table=table)}",
            f"    FOR EACH STATEMENT EXECUTE FUNCTION {does}();",
            f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER tell_{name};",
        ]
    return "\n".join(statements)


def no_triggers(table: str) -> str:
    """Takes the triggers away again."""
    return "\n".join(f"DROP TRIGGER IF EXISTS tell_{name} ON {table};" for name in EVENTS)


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("images", "0004_removal")]

    operations = [
        migrations.RunSQL(TABLE, NO_TABLE),
        migrations.RunSQL(triggers("images_owner", "images_tell_owners"), no_triggers("images_owner")),
        migrations.RunSQL(triggers("images_image", "images_tell_images"), no_triggers("images_image")),
    ]
