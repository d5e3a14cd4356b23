"""Sums of clusters, an arm a row instead of a cluster a row: what is stored is carried over, to the last digit.

A worker of the version before must not count calls in the old table, where nobody looks any more: to it, a rebuild is at
work, and calls wait for the new workers. It can read on: the old table stays, until no such version runs.
"""

import struct
from datetime import datetime, timezone

from django.db import migrations, models

CLUSTERS = 128
BINS = ("ttft_bins", "latency_bins")
KEY = ("rollout", "run", "stretch", "scope", "arm")
ALWAYS = datetime(9999, 1, 1, tzinfo=timezone.utc)


def put_side_by_side(apps, schema_editor):
    pause_older_workers(apps, ALWAYS)
    arms = {}
    for row in apps.get_model("metrics", "ClusterSum").objects.all().iterator(chunk_size=2000):
        key = tuple(getattr(row, name) for name in KEY)
        numbers, bins = arms.setdefault(key, ({}, {name: {} for name in BINS}))
        for name, value in row.sums.items():
            if name in BINS:
                for number, count in value.items():
                    bins[name].setdefault(int(number), [0] * CLUSTERS)[row.cluster] = count
            else:
                numbers.setdefault(name, [0] * CLUSTERS)[row.cluster] = value
    apps.get_model("metrics", "ArmSum").objects.bulk_create(
        [
            apps.get_model("metrics", "ArmSum")(
                **dict(zip(KEY, key)),
                sums={name: numbers[name] for name in sorted(numbers)},
                **{name: pack(bins[name]) for name in BINS},
            )
            for key, (numbers, bins) in arms.items()
        ],
        batch_size=50,
    )


def put_apart(apps, schema_editor):
    pause_older_workers(apps, None)
    ClusterSum = apps.get_model("metrics", "ClusterSum")
    ClusterSum.objects.all().delete()
    for row in apps.get_model("metrics", "ArmSum").objects.all().iterator(chunk_size=50):
        clusters = [{} for _ in range(CLUSTERS)]
        for name, values in row.sums.items():
            for sums, value in zip(clusters, values):
                if value:
                    sums[name] = value
        for name in BINS:
            for number, counts in unpack(bytes(getattr(row, name))):
                for sums, count in zip(clusters, counts):
                    if count:
                        sums.setdefault(name, {})[str(number)] = count
        ClusterSum.objects.bulk_create(
            ClusterSum(**{name: getattr(row, name) for name in KEY}, cluster=cluster, sums=sums)
            for cluster, sums in enumerate(clusters)
            if sums
        )


def pause_older_workers(apps, until):
    """And hold all others until the migration is through: what they add meanwhile would be lost."""
    states = apps.get_model("metrics", "RollupState").objects
    if apps.get_model("metrics", "ModelCall").objects.exists():
        states.get_or_create(pk=1)
    list(states.select_for_update().all())
    states.update(paused_until=until)


def pack(bins):
    """As metrics.arms.pack was when this was written."""
    if not bins:
        return b""
    span = range(min(bins), max(bins) + 1)
    counts = [count for number in span for count in bins.get(number, [0] * CLUSTERS)]
    return struct.pack(f"<{1 + len(counts)}i", span.start, *counts)


def unpack(packed):
    first, *counts = struct.unpack(f"<{len(packed) // 4}i", packed) if packed else (0,)
    return [
        (first + place, counts[place * CLUSTERS : (place + 1) * CLUSTERS]) for place in range(len(counts) // CLUSTERS)
    ]


class Migration(migrations.Migration):

    dependencies = [
        ('metrics', '0007_columns_that_older_code_leaves_out'),
    ]

    operations = [
        migrations.CreateModel(
            name='ArmSum',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('rollout', models.CharField(max_length=100)),
                ('run', models.PositiveIntegerField()),
                ('stretch', models.PositiveIntegerField()),
                ('scope', models.CharField(choices=[('stretch', 'Stretch'), ('window', 'Window'), ('deleted', 'Deleted')], max_length=10)),
                ('arm', models.CharField(choices=[('baseline', 'baseline'), ('candidate', 'candidate')], max_length=10)),
                ('sums', models.JSONField(default=dict, help_text="Each number's list, one place for each cluster.")),
                ('ttft_bins', models.BinaryField(default=bytes, help_text='See arms.pack.')),
                ('latency_bins', models.BinaryField(default=bytes)),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('rollout', 'run', 'stretch', 'scope', 'arm'), name='one_sum_of_an_arm')],
            },
        ),
        migrations.AddField(
            model_name='rollupstate',
            name='rebuilding_until',
            field=models.DateTimeField(help_text='A rebuild is at work, and was alive two minutes before.', null=True),
        ),
        migrations.RunPython(put_side_by_side, put_apart),
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.DeleteModel(name='ClusterSum'),
                migrations.RemoveField(model_name='rollupstate', name='paused_until'),
            ],
        ),
    ]
