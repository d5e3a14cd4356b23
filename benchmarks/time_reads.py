"""Times what is read from the roll-ups, in two databases side by side: ``python -m benchmarks.time_reads``.

``--small`` and ``--large`` are DATABASE_URLs of databases that ``load_calls`` and ``rebuild_rollups`` have filled. A
process is on each, and they are asked by turns, one request at a time, so that both meet the same machine; the table
has each one's median and p99, and the ratio of the two. Status is asked for as a program does it, with a token, and the
dashboard as a browser does, both through all that stands before them; what is timed ends with the first byte, which
comes with the last. A process has settled down before, as the web process does: else one answer in forty would wait for
a look through all that is loaded. It counts requests in a Redis of its own. ``--busy-day`` also times the daily report
of a day, in the large one.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

from benchmarks import report
from tests.services.redis import throwaway_redis

REPEATS = 1000
WARM_UP = 5
REPORT = "report of the busy day"
REPORTS = 5
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
        _serve(options.busy_day)
        return
    with ExitStack() as running:
        sizes = {
            size: running.enter_context(_asked(vars(options)[size], options.busy_day)) for size in ("small", "large")
        }
        results = _compare(sizes, REPORT if options.busy_day else None)
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
    return round(statistics.quantiles(taken, n=100, method="inclusive")[percent - 1], 1)


class Reader:
    """A process on one database, which does what it is told to and says how long it took."""

    def __init__(self, told: IO[str], says: IO[str]) -> None:
        self._told, self._says = told, says
        self.calls, *self.can = json.loads(self._said())

    def ms(self, what: str) -> float:
        """Of one go."""
        self._told.write(f"{what}\n")
        self._told.flush()
        return float(self._said())

    def _said(self) -> str:
        line = self._says.readline()
        if not line:
            raise RuntimeError("a reader has ended by itself")
        return line


@contextmanager
def _asked(database: str, busy_day: date | None) -> Iterator[Reader]:
    command = [sys.executable, "-m", "benchmarks.time_reads", "--measure"]
    command += ["--busy-day", busy_day.isoformat()] if busy_day else []
    with tempfile.TemporaryDirectory() as home, throwaway_redis(Path(home) / "redis.sock"):
        # Asked more often in a minute than a program may.
        own = {"DATABASE_URL": database, "REDIS_URL": f"unix://{home}/redis.sock", "API_RATE_LIMIT": "1000000"}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        with subprocess.Popen(command, env={**os.environ, **own}, text=True, **pipes) as process:
            told, says = cast("IO[str]", process.stdin), cast("IO[str]", process.stdout)
            yield Reader(told, says)
            told.close()


def _compare(sizes: dict[str, Reader], report: str | None) -> Results:
    results: Results = {size: {"calls": {"p50": reader.calls}} for size, reader in sizes.items()}
    for what in sizes["large"].can:
        asked = {"large": sizes["large"]} if what == report else sizes
        taken: dict[str, list[float]] = {size: [] for size in asked}
        for number in range(WARM_UP + (REPORTS if what == report else REPEATS)):
            # Neither is always the second.
            for size in sorted(asked, reverse=number % 2 == 0):
                ms = asked[size].ms(what)
                if number >= WARM_UP:
                    taken[size].append(ms)
        for size, times in taken.items():
            results[size][what] = {"p50": _percentile(times, 50), "p99": _percentile(times, 99)}
    return results


def _serve(busy_day: date | None) -> None:
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
    works: dict[str, Callable[[], object]] = {"decision": lambda: decide_on(rollout, now=timezone.now())}
    for what, client, path in (
        ("status, 24 h", program, f"/api/v1/rollouts/{name}/status"),
        ("status, 30 d", program, f"/api/v1/rollouts/{name}/status?hours=720"),
        ("older status, 24 h", program, "/api/gemini-rollout-status"),
        *((f"dashboard, {span}", browser, f"{page}?range={span}") for span in ("1h", "24h", "7d", "90d")),
    ):
        works[what] = partial(_get, client, path)
    if busy_day is not None:

        def build() -> None:
            with transaction.atomic():
                reports.build_report(Report.Kind.DAILY, name, busy_day, now=timezone.now() + timedelta(days=1))
                transaction.set_rollback(True)

        works[REPORT] = build
    print(json.dumps([ModelCall.objects.count(), *works]), flush=True)
    with override_settings(STORAGES=plain, ALLOWED_HOSTS=["*"]):
        for line in sys.stdin:
            before = time.perf_counter()
            works[line.strip()]()
            print(1000 * (time.perf_counter() - before), flush=True)


def _get(client: Any, path: str) -> None:
    answer = client.get(path)
    if answer.status_code != 200:
        raise RuntimeError(f"{path} answered {answer.status_code}")


if __name__ == "__main__":
    main()
