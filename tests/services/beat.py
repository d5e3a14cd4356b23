"""A beat in a hurry, ``python -m tests.services.beat --schedule FILE``: what is periodic is due each second."""

import argparse

from config.celery import app


def main() -> None:
    """Send what is due until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--schedule", required=True)
    file = parser.parse_args().schedule
    for entry in app.conf.beat_schedule.values():
        entry["schedule"] = 1.0
    app.Beat(schedule=file, loglevel="WARNING", max_interval=1).run()


if __name__ == "__main__":
    main()
