"""Indexes of calls for staff who look for one person's or one application's.

On PostgreSQL no answer waits while they are made: partition by partition, beside the writers; with its last one the
table has them as a whole. A try that broke off is gone on with by the next.
"""

from django.db import migrations, models, transaction

INDEXES = (
    models.Index(fields=["unit", "-started_at"], name="call_by_unit"),
    models.Index(
        fields=["application", "-started_at"], condition=models.Q(application__gt=""), name="call_by_application"
    ),
)
ON_TABLE = 'ON "metrics_modelcall" '

MISSING = """
SELECT inhrelid::regclass::text FROM pg_inherits
WHERE inhparent = 'metrics_modelcall'::regclass AND inhrelid NOT IN (
    SELECT indrelid FROM pg_inherits JOIN pg_index ON indexrelid = inhrelid WHERE inhparent = '{name}'::regclass
)
ORDER BY 1
"""


def add(apps, schema_editor):
    model = apps.get_model("metrics", "ModelCall")
    if schema_editor.connection.vendor != "postgresql":
        for index in INDEXES:
            schema_editor.add_index(model, index)
        return
    with schema_editor.connection.cursor() as cursor:
        for index in INDEXES:
            name, columns = index.name, str(index.create_sql(model, schema_editor)).partition(ON_TABLE)[2]
            # Whoever writes for long makes this migration fail, not every answer wait behind it.
            with transaction.atomic(using=schema_editor.connection.alias):
                cursor.execute("SET LOCAL lock_timeout = '5s'")
                cursor.execute(f"CREATE INDEX IF NOT EXISTS {name} ON ONLY metrics_modelcall {columns}")
            cursor.execute(MISSING.format(name=name))
            for (table,) in cursor.fetchall():
                part = f"{table}_{name}"
                # Half of one, of a try that broke off.
                cursor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {part}")
                cursor.execute(f"CREATE INDEX CONCURRENTLY {part} ON {table} {columns}")
                cursor.execute(f"ALTER INDEX {name} ATTACH PARTITION {part}")


def remove(apps, schema_editor):
    model = apps.get_model("metrics", "ModelCall")
    for index in INDEXES:
        schema_editor.remove_index(model, index)


class Migration(migrations.Migration):

    atomic = False

    dependencies = [
        ('metrics', '0012_histograms_uncompressed'),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunPython(add, remove)],
            state_operations=[migrations.AddIndex('modelcall', index) for index in INDEXES],
        ),
    ]
