"""What must be so before Sluice serves: tables, static files, a superuser. ``python -m config.prepare``.

Knows Django's commands. Each step is idempotent and quick when there is nothing to do. All run in
one process, because starting Python with Django costs more than the steps.
"""

import hashlib
import os
import sys
from pathlib import Path

import django
from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import CommandError, call_command
from environs import EnvValidationError

from config.paths import VAR_DIR


def static_fingerprint() -> str:
    """A digest of every static source's name, size and time of change, and of the storage that hashes them."""
    digest = hashlib.sha256(str(settings.STORAGES["staticfiles"]).encode())
    for finder in get_finders():
        for name, storage in finder.list([]):
            stat = os.stat(storage.path(name))
            digest.update(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def collect_static(stamp: Path) -> bool:
    """Gather the static files unless those that ``stamp`` tells of are still the same; True if it did."""
    fingerprint = static_fingerprint()
    if stamp.exists() and stamp.read_text() == fingerprint and Path(settings.STATIC_ROOT).is_dir():
        return False
    call_command("collectstatic", interactive=False, clear=True, verbosity=0)
    stamp.write_text(fingerprint)
    return True


def _prepare(*, demo: bool) -> None:
    django.setup()
    call_command("migrate", interactive=False, verbosity=0)
    collect_static(VAR_DIR / "static-fingerprint")
    call_command("ensure_admin")
    if demo:
        call_command("seed_demo")


def main() -> None:
    """Prepare, or say in a line what is wrong and exit with 1."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    try:
        _prepare(demo="--demo" in sys.argv[1:])
    except EnvValidationError as error:
        wrong = error.error_messages
        problems = wrong.items() if isinstance(wrong, dict) else [("environment", wrong)]
        sys.exit("\n".join(f"{name}: {' '.join(map(str, messages))}" for name, messages in problems))
    except CommandError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
