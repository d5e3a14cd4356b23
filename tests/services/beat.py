"""A beat in a hurry, ``python -m tests.services.beat --schedule FILE``: what is periodic is due on each full second.

All beats of a machine send the same things at the same moment, which is the worst that can happen.
"""

import argparse
import time
from datetime import datetime

from celery.schedules import schedstate, schedule

from config.celery import app


class FullSecond(schedule):
    """Due once in each second of the clock, at its beginning."""

    def is_due(self, last_run_at: datetime) -> schedstate:
        """Whether a second has begun since, and how long it is until the next one does."""
        now = time.time()
        return schedstate(int(now) > int(last_run_at.timestamp()), 1 - now % 1)


def main() -> None:
    """Send what is due until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--schedule", required=True)
    file = parser.parse_args().schedule
    for entry in app.conf.beat_schedule.values():
        entry["schedule"] = FullSecond(1)
    app.Beat(schedule=file, loglevel="WARNING", max_interval=1).run()


if __name__ == "__main__":
    main()
