from typing import Any

from django.db import migrations


def uncompressed(_apps: Any, schema_editor: Any) -> None:
    """On PostgreSQL: to unpack them for each status takes longer than to read them as they are."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("ALTER TABLE metrics_armsum ALTER ttft_bins SET STORAGE EXTERNAL, ALTER latency_bins SET STORAGE EXTERNAL")


class Migration(migrations.Migration):
    dependencies = [("metrics", "0011_slices_of_six_hours")]

    operations = [migrations.RunPython(uncompressed, migrations.RunPython.noop, elidable=True)]
