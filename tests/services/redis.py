"""A throwaway Redis on a unix socket, from the same binary as the embedded one."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from config.redis_server import redis_command
from tests.services.process import running


@contextmanager
def throwaway_redis(socket: Path) -> Iterator["redis.Redis"]:
    """Run Redis on ``socket``, keeping nothing on disk; gives a client to it."""
    command = redis_command(socket=socket, folder=socket.parent, save="")
    with redis.Redis(unix_socket_path=str(socket)) as client:

        def answers() -> bool:
            try:
                return bool(client.ping())
            except redis.ConnectionError:
                return False

        with running(command, answers=answers, log=socket.parent / "redis-output.log"):
            yield client
