import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from config.paths import BASE_DIR
from config.supervisor import Child, Supervisor

SERVER = """
import signal, socket, sys, time
name, address, log = sys.argv[1:]
def end(number, frame):
    open(log, "a").write(f"{name} ended\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
listener = socket.socket(socket.AF_UNIX)
listener.bind(address)
listener.listen()
open(log, "a").write(f"{name} started\\n")
print(f"{name} says hello", flush=True)
time.sleep(60)
"""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


def server(name: str, log: Path) -> Child:
    address = str(log.with_name(f"{name}.sock"))
    return Child(name=name, command=(sys.executable, "-c", SERVER, name, address, str(log)), env={}, address=address)


def python(name: str, source: str, *, once: bool = False) -> Child:
    return Child(name=name, command=(sys.executable, "-c", source), env={}, once=once)


def run(*children: Child) -> int:
    """Supervise until the announcement, or until a child ends by itself."""
    ask_to_end = python("end", f"import os; os.kill({os.getpid()}, {int(signal.SIGTERM)})", once=True)
    return asyncio.run(Supervisor([*children, ask_to_end]).run("ready\n"))


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_children_start_in_order_and_end_in_reverse(log, capfd):
    assert run(server("redis", log), server("web", log)) == 0

    assert log.read_text().splitlines() == ["redis started", "web started", "web ended", "redis ended"]
    printed = capfd.readouterr().out
    assert "redis | redis says hello\n" in printed
    assert "web   | web says hello\n" in printed


def test_a_step_is_through_before_the_next_child_starts(log):
    step = python("setup", f"import time; time.sleep(0.3); open({str(log)!r}, 'a').write('setup done\\n')", once=True)

    assert run(step, server("web", log)) == 0

    assert log.read_text().splitlines()[:2] == ["setup done", "web started"]


def test_a_failed_step_keeps_the_rest_from_starting(log, capfd):
    assert run(python("setup", "raise SystemExit('no table')", once=True), server("web", log)) == 1

    printed = capfd.readouterr().out
    assert "setup | no table\n" in printed
    assert "setup ended (exit code 1); ending the rest.\n" in printed
    assert not log.exists()


def test_a_child_that_is_killed_ends_the_rest_and_says_so(log, capfd):
    victim = python("worker", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")

    # Never ready, so that only the worker's end can be why it stops.
    waiting = Child(
        name="wait", command=(sys.executable, "-c", "import time; time.sleep(60)"), env={}, address="/nowhere"
    )
    assert run(server("redis", log), victim, waiting) == 1

    printed = capfd.readouterr().out
    assert "worker ended (killed by SIGKILL); ending the rest.\n" in printed
    assert "ready" not in printed
    assert log.read_text().splitlines() == ["redis started", "redis ended"]


def test_what_a_child_started_ends_with_it(tmp_path):
    pid_file = tmp_path / "pid"
    forks = f"""
        import subprocess, sys, time
        sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
        grandchild = subprocess.Popen(sleep, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        open({str(pid_file)!r}, "w").write(str(grandchild.pid))
        while True: time.sleep(1)
    """
    wait = f"import os, time\nwhile not os.path.exists({str(pid_file)!r}): time.sleep(0.02)"

    assert run(python("worker", textwrap.dedent(forks)), python("wait", wait, once=True)) == 0

    eventually(lambda: not _runs(int(pid_file.read_text())))


def test_a_child_gets_its_own_variables_on_top_of_ours(capfd, monkeypatch):
    monkeypatch.setenv("OURS", "kept")
    source = "import os; print(os.environ['OURS'], os.environ['THEIRS'])"
    child = Child(name="web", command=(sys.executable, "-c", source), env={"THEIRS": "added"}, once=True)

    assert run(child) == 0

    assert "web | kept added\n" in capfd.readouterr().out


@pytest.fixture
def supervisor_process(log: Path) -> Iterator[subprocess.Popen[str]]:
    """A supervisor in a process of its own, with one server, once it is ready."""
    source = f"""
        import asyncio, sys
        from tests.config.test_supervisor import server
        from config.supervisor import Supervisor
        from pathlib import Path
        sys.exit(asyncio.run(Supervisor([server("web", Path({str(log)!r}))]).run("ready\\n")))
    """
    command = [sys.executable, "-c", textwrap.dedent(source)]
    with subprocess.Popen(command, cwd=BASE_DIR, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line == "ready\n":
                break
        yield process
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_all_in_good_order(number, supervisor_process, log):
    supervisor_process.send_signal(number)

    _, errors = supervisor_process.communicate()
    assert supervisor_process.returncode == 0
    assert errors == ""
    assert log.read_text().splitlines() == ["web started", "web ended"]


def test_a_supervisor_that_is_killed_outright_leaves_nothing_behind(supervisor_process, log):
    supervisor_process.kill()

    eventually(lambda: "web ended" in log.read_text())


def test_output_that_nobody_reads_ends_all(log, tmp_path):
    talks = python("web", "while True: print('x' * 1000)")
    source = f"""
        import asyncio, sys
        from config.supervisor import Child, Supervisor
        sys.exit(asyncio.run(Supervisor([{talks!r}]).run("ready\\n")))
    """
    command = [sys.executable, "-c", textwrap.dedent(source)]
    with subprocess.Popen(command, cwd=BASE_DIR, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""

    assert process.returncode == 1


def _runs(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False
