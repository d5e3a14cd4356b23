"""Sums of clusters, an arm a row instead of a cluster a row: what is stored is carried over, to the last digit.

The old table goes at once: a worker of the version before then fails instead of counting calls where nobody looks, and
those calls wait.
"""

import struct

from django.db import migrations, models

CLUSTERS = 128
BINS = ("ttft_bins", "latency_bins")
KEY = ("rollout", "run", "stretch", "scope", "arm")


def put_side_by_side(apps, schema_editor):
    hold_rollups(apps)
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
    hold_rollups(apps)
    ClusterSum = apps.get_model("metrics", "ClusterSum")
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


def hold_rollups(apps):
    """Until the migration is through: what a worker adds meanwhile would be lost."""
    list(apps.get_model("metrics", "RollupState").objects.select_for_update().all())


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
        ('metrics', '0006_partitions_of_calls'),
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
        migrations.RunPython(put_side_by_side, put_apart),
        migrations.DeleteModel(name='ClusterSum'),
    ]
