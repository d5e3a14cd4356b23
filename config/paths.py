"""Where run-time state lives. Knows the checkout's folder; knows no Django and no settings."""

import hashlib
import os
import tempfile
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = BASE_DIR / "var"

# sockaddr_un.sun_path holds 108 bytes on Linux, the closing NUL included.
SOCKET_PATH_LIMIT = 107


def redis_socket() -> Path:
    """The embedded Redis's socket: under var/, or in the temporary folder where that path is too long."""
    path = VAR_DIR / "redis.sock"
    if len(os.fsencode(path)) <= SOCKET_PATH_LIMIT:
        return path
    digest = hashlib.sha256(os.fsencode(BASE_DIR)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"sluice-{os.getuid()}-{digest}" / "redis.sock"
