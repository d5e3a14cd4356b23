"""Cuts the table of calls into partitions by UTC day, on PostgreSQL alone; no row is copied that need not move.

See docs/decisions/0018. Django's state stays: on the table as a whole there is no primary key, each partition has its
own. Going back leaves the partitions where they are: the version before works with them.
"""

from django.db import migrations

INDEXES = """
SELECT relname, pg_get_indexdef(indexrelid)
FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
WHERE indrelid = 'metrics_modelcall'::regclass AND NOT indisunique
"""

# Of a table with calls, all that is there becomes the partition of everything before the coming UTC day.
WHOLE = """
CREATE TABLE metrics_modelcall (LIKE metrics_modelcall_before INCLUDING DEFAULTS INCLUDING STORAGE INCLUDING CONSTRAINTS)
    PARTITION BY RANGE (started_at);
{indexes};
CREATE TABLE metrics_modelcall_default (LIKE metrics_modelcall_before INCLUDING DEFAULTS INCLUDING STORAGE INCLUDING CONSTRAINTS);
ALTER TABLE metrics_modelcall_default ADD PRIMARY KEY (id), ADD UNIQUE (answer_id, attempt);
ALTER TABLE metrics_modelcall ATTACH PARTITION metrics_modelcall_default DEFAULT
"""

ATTACH = """
WITH later AS (DELETE FROM metrics_modelcall_before WHERE started_at >= '{until}' RETURNING *)
INSERT INTO metrics_modelcall SELECT * FROM later;
ALTER TABLE metrics_modelcall ATTACH PARTITION metrics_modelcall_before FOR VALUES FROM (MINVALUE) TO ('{until}')
"""


def partition(apps, schema_editor):
    if schema_editor.connection.vendor != "postgresql":
        return
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT relkind = 'p' FROM pg_class WHERE oid = 'metrics_modelcall'::regclass")
        if cursor.fetchone()[0]:
            return
        # Whoever reads for long makes this migration fail, not every request wait behind it.
        cursor.execute("SET LOCAL lock_timeout = '5s'")
        cursor.execute("LOCK TABLE metrics_modelcall IN ACCESS EXCLUSIVE MODE")
        cursor.execute(INDEXES)
        indexes = cursor.fetchall()
        cursor.execute("ALTER TABLE metrics_modelcall RENAME TO metrics_modelcall_before")
        for name, _definition in indexes:
            cursor.execute(f"ALTER INDEX {name} RENAME TO metrics_modelcall_before_{name}")
        definitions = ";\n".join(definition for _name, definition in indexes)
        cursor.execute(WHOLE.format(indexes=definitions))
        cursor.execute("SELECT EXISTS (SELECT FROM metrics_modelcall_before)")
        if cursor.fetchone()[0]:
            cursor.execute("SELECT (date_trunc('day', now() AT TIME ZONE 'UTC') + '1 day') AT TIME ZONE 'UTC'")
            cursor.execute(ATTACH.format(until=cursor.fetchone()[0].isoformat()))
        else:
            cursor.execute("DROP TABLE metrics_modelcall_before")


class Migration(migrations.Migration):

    dependencies = [
        ('metrics', '0005_modelcall_application'),
    ]

    operations = [
        migrations.RunPython(partition, migrations.RunPython.noop),
    ]
