import os
import re
from pathlib import Path

import pytest
from django.templatetags.static import static
from django.test import override_settings

from config.prepare import collect_static

# What the settings say; the suite itself serves files from where they lie.
REAL_STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with one static file, which is all there is to collect."""
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "page.css").write_text("p { color: black }")
    return folder


@pytest.fixture
def root(tmp_path: Path, source: Path):
    root = tmp_path / "collected"
    finders = ["django.contrib.staticfiles.finders.FileSystemFinder"]
    with override_settings(STATIC_ROOT=root, STATICFILES_DIRS=[source], STATICFILES_FINDERS=finders):
        yield root


def test_static_files_are_collected_once(root, tmp_path):
    assert collect_static(tmp_path / "stamp")
    assert (root / "page.css").exists()

    assert not collect_static(tmp_path / "stamp")


def test_a_changed_a_new_and_a_removed_file_are_collected(root, source, tmp_path):
    collect_static(tmp_path / "stamp")

    (source / "page.css").write_text("p { color: blue }")
    os.utime(source / "page.css", (1, 1))
    assert collect_static(tmp_path / "stamp")
    assert (root / "page.css").read_text() == "p { color: blue }"

    (source / "page.js").write_text("")
    assert collect_static(tmp_path / "stamp")
    assert (root / "page.js").exists()

    (source / "page.js").unlink()
    assert collect_static(tmp_path / "stamp")
    assert not (root / "page.js").exists()


def test_collected_files_that_went_missing_are_collected_again(root, tmp_path):
    collect_static(tmp_path / "stamp")
    (root / "page.css").unlink()
    root.rmdir()

    assert collect_static(tmp_path / "stamp")


def test_every_file_that_a_stylesheet_or_script_refers_to_exists(tmp_path):
    """Collecting fails on a reference to a file that is not there."""
    with override_settings(STATIC_ROOT=tmp_path / "collected", STORAGES=REAL_STORAGES):
        assert collect_static(tmp_path / "stamp")

        assert re.fullmatch(r"/static/admin/css/base\.[0-9a-f]{12}\.css", static("admin/css/base.css"))
