"""A web process of its own on the test's database: ``python -m tests.services.web --port 8001``.

As ``config.web``, with the suite's own settings where those differ: pages without collectstatic.
"""

import os

from django.conf import settings


def main() -> None:
    """Serve until SIGTERM."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    settings.STORAGES["staticfiles"]["BACKEND"] = "django.contrib.staticfiles.storage.StaticFilesStorage"
    settings.WHITENOISE_AUTOREFRESH = settings.WHITENOISE_USE_FINDERS = True
    # Reads the settings when it is imported.
    from config import web

    web.main()


if __name__ == "__main__":
    main()
