"""Chromium for the browser tests: ``python -m tests.services.chromium`` sees to it that there is one.

Exit code 0: it is there. 3: it is not, and the browser tests are to be left out. 1: it is not, and CI needs it.
"""

import os
import shutil
import subprocess
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome")


def find_chromium() -> str | None:
    """The path of a Chromium on PATH, if there is one."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def _install() -> None:
    """Install Debian's package where that is ours to do; says on the terminal how it went."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for step in (["apt-get", "update", "-qq"], ["apt-get", "install", "-qq", "--no-install-recommends", "chromium"]):
        if subprocess.run(step, env=environment, stdin=subprocess.DEVNULL).returncode:
            return


def main() -> None:
    """Find or install; exit as the module says."""
    if find_chromium():
        return
    _install()
    if find_chromium():
        return
    if os.environ.get("CI") == "true":
        sys.exit("Chromium is not on PATH and could not be installed; CI needs it for the browser tests.")
    sys.stderr.write("Chromium is not on PATH: the browser tests are left out.\n")
    sys.exit(3)


if __name__ == "__main__":
    main()
