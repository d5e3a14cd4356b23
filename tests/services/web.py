"""A web process of its own on the test's database: ``python -m tests.services.web FD``.

As ``config.web``, with the suite's own settings where those differ: pages without collectstatic. ``FD`` is a bound
socket that the suite hands over: a number of a port alone could be another connection's by the time this listens.
"""

import os
import socket
import sys

from django.conf import settings


def main() -> None:
    """Serve until SIGTERM."""
    listener = socket.socket(fileno=int(sys.argv[1]))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    settings.STORAGES["staticfiles"]["BACKEND"] = "django.contrib.staticfiles.storage.StaticFilesStorage"
    settings.WHITENOISE_AUTOREFRESH = settings.WHITENOISE_USE_FINDERS = True
    # Reads the settings when it is imported.
    from config import web

    host, port = listener.getsockname()
    web.serve(web.server(host=host, port=port), [listener])


if __name__ == "__main__":
    main()
