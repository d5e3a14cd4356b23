"""Times what is read from the roll-ups, in two databases side by side: ``python -m benchmarks.time_reads``.

``--small`` and ``--large`` are DATABASE_URLs of databases that ``load_calls`` and ``rebuild_rollups`` have filled. One
process for each measures in turns, so that both meet the same machine; the table has each one's median and p99, and the
ratio of the two. Status is asked for as a program does it, with a token, and the dashboard as a browser does, both
through all that stands before them; what is timed ends with the first byte, which comes with the last. A process has
settled down before, as the web process does: else one answer in forty would wait for a look through all that is loaded.
It counts requests in a Redis of its own. ``--busy-day`` also times the daily report of a day, in the large one.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import report
from tests.services.redis import throwaway_redis

ROUNDS = 5
REPEATS = 60
# By database and by what is read, p50 and p99 in ms; "calls" is how many there are.
Results = dict[str, dict[str, dict[str, float]]]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small")
    parser.add_argument("--large")
    parser.add_argument("--busy-day", type=date.fromisoformat)
    parser.add_argument("--print", action="store_true", help="write no files")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        json.dump(_measure(options.busy_day), sys.stdout)
        return
    taken: dict[str, dict[str, list[float]]] = {"small": {}, "large": {}}
    for _round in range(ROUNDS):
        for size, of_size in taken.items():
            busy_day = options.busy_day if size == "large" else None
            for what, times in _in_a_process(vars(options)[size], busy_day).items():
                of_size.setdefault(what, []).extend(times)
    results = {
        size: {what: {"p50": _percentile(times, 50), "p99": _percentile(times, 99)} for what, times in of_size.items()}
        for size, of_size in taken.items()
    }
    text = _table(results)
    sys.stdout.write(text)
    if not options.print:
        report.write("reads", results, text)


def _table(results: Results) -> str:
    calls = {size: f"{of_size['calls']['p50']:,.0f} calls" for size, of_size in results.items()}
    lines = ["| what |" + "".join(f" {calls['small']}: {p}, ms | {calls['large']} | ratio |" for p in ("p50", "p99"))]
    lines.append("|---|---|---|---|---|---|---|")
    for what, large in results["large"].items():
        if what != "calls":
            small = results["small"].get(what)
            lines.append(f"| {what} | {' | '.join(_beside(small, large, p) for p in ('p50', 'p99'))} |")
    return "\n".join(lines) + "\n"


def _beside(small: dict[str, float] | None, large: dict[str, float], percentile: str) -> str:
    ms = large[percentile]
    return f"– | {ms} | –" if small is None else f"{small[percentile]} | {ms} | {ms / small[percentile]:.2f}"


def _percentile(taken: list[float], percent: int) -> float:
    found = statistics.quantiles(taken, n=100, method="inclusive")[percent - 1] if len(taken) > 1 else taken[0]
    return round(found, 1)


def _in_a_process(database: str, busy_day: date | None) -> dict[str, list[float]]:
    command = [sys.executable, "-m", "benchmarks.time_reads", "--measure"]
    command += ["--busy-day", busy_day.isoformat()] if busy_day else []
    with tempfile.TemporaryDirectory() as home, throwaway_redis(Path(home) / "redis.sock"):
        environment = {**os.environ, "DATABASE_URL": database, "REDIS_URL": f"unix://{home}/redis.sock"}
        output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    measured: dict[str, list[float]] = json.loads(output)
    return measured


def _measure(busy_day: date | None) -> dict[str, list[float]]:
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    from django.conf import settings
    from django.db import transaction
    from django.test import Client, override_settings
    from django.utils import timezone

    from chat.models import User
    from chat.tokens import create_token
    from config.web import settle_down
    from metrics.models import ModelCall
    from rollout import reports
    from rollout.changes import get_rollout
    from rollout.evaluation import decide_on
    from rollout.models import Report

    name = settings.DEFAULT_ROLLOUT
    rollout = get_rollout(name)
    person, _made = User.objects.get_or_create(username="bench", defaults={"is_staff": True, "is_superuser": True})
    browser = Client()
    browser.force_login(person)
    _token, text = create_token(user=person, name="bench")
    program = Client(headers={"Authorization": f"Bearer {text}"})
    page = f"/admin/rollout/rollout/{rollout.pk}/dashboard/"
    # Files are hashed where a site is installed; here nothing was collected.
    plain = {**settings.STORAGES, "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
    settle_down()
    found = {
        "calls": [float(ModelCall.objects.count())],
        "decision": _times(lambda: decide_on(rollout, now=timezone.now())),
    }
    with override_settings(STORAGES=plain, ALLOWED_HOSTS=["*"]):
        for what, client, path in (
            ("status, 24 h", program, f"/api/v1/rollouts/{name}/status"),
            ("status, 30 d", program, f"/api/v1/rollouts/{name}/status?hours=720"),
            ("older status, 24 h", program, "/api/gemini-rollout-status"),
            *((f"dashboard, {span}", browser, f"{page}?range={span}") for span in ("1h", "24h", "7d", "90d")),
        ):
            found[what] = _times(partial(_get, client, path))
    if busy_day is not None:

        def build() -> None:
            with transaction.atomic():
                reports.build_report(Report.Kind.DAILY, name, busy_day, now=timezone.now() + timedelta(days=1))
                transaction.set_rollback(True)

        found["report of the busy day"] = _times(build, repeats=1)
    return found


def _get(client: Any, path: str) -> None:
    answer = client.get(path)
    if answer.status_code != 200:
        raise RuntimeError(f"{path} answered {answer.status_code}")


def _times(work: Callable[[], object], repeats: int = REPEATS) -> list[float]:
    """In ms; the first go warms up and is not counted, unless it is the only one."""
    taken = []
    for _n in range(repeats + (repeats > 1)):
        before = time.perf_counter()
        work()
        taken.append(1000 * (time.perf_counter() - before))
    return taken[-repeats:]


if __name__ == "__main__":
    main()
