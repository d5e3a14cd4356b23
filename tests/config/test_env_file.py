import stat
from pathlib import Path

import pytest

from config.env_file import ensure_secret_key, read_environment


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    return tmp_path / ".env"


@pytest.fixture
def example(tmp_path: Path) -> Path:
    path = tmp_path / ".env.example"
    path.write_text("# Only SECRET_KEY has no default.\nSECRET_KEY=\n# DEBUG=false\n")
    return path


def secret_key(env_file: Path) -> str:
    return read_environment(env_file, {})["SECRET_KEY"]


def test_a_new_file_is_the_example_with_a_key(env_file, example):
    assert ensure_secret_key(env_file, example, {})

    lines = env_file.read_text().splitlines()
    assert lines[0] == "# Only SECRET_KEY has no default."
    assert lines[2] == "# DEBUG=false"
    assert len(secret_key(env_file)) >= 50


def test_two_files_never_get_the_same_key(env_file, example, tmp_path):
    other = tmp_path / "other.env"

    ensure_secret_key(env_file, example, {})
    ensure_secret_key(other, example, {})

    assert secret_key(env_file) != secret_key(other)


@pytest.mark.parametrize(
    "before", ["DEBUG=true\n", "DEBUG=true", "DEBUG=true\nSECRET_KEY=\n", "SECRET_KEY=\nDEBUG=true"]
)
def test_a_file_without_a_key_gets_one_and_keeps_its_other_lines(env_file, example, before):
    env_file.write_text(before)

    assert ensure_secret_key(env_file, example, {})

    assert read_environment(env_file, {})["DEBUG"] == "true"
    assert len(secret_key(env_file)) >= 50
    assert env_file.read_text().count("SECRET_KEY") == 1


def test_a_key_that_is_there_stays(env_file, example):
    text = "# mine\nexport SECRET_KEY='a key of my own'\n"
    env_file.write_text(text)

    assert not ensure_secret_key(env_file, example, {})

    assert env_file.read_text() == text


def test_a_key_in_the_environment_needs_no_file(env_file, example):
    assert not ensure_secret_key(env_file, example, {"SECRET_KEY": "from the shell"})

    assert not env_file.exists()


def test_the_file_is_its_owners_alone_even_if_it_was_not(env_file, example):
    env_file.write_text("DEBUG=true\n")
    env_file.chmod(0o644)

    ensure_secret_key(env_file, example, {})

    assert stat.S_IMODE(env_file.stat().st_mode) == 0o600


def test_a_linked_file_stays_a_link(env_file, example, tmp_path):
    real = tmp_path / "elsewhere.env"
    real.write_text("DEBUG=true\n")
    env_file.symlink_to(real)

    ensure_secret_key(env_file, example, {})

    assert env_file.is_symlink()
    assert secret_key(real)


def test_the_environment_wins_over_the_file(env_file):
    env_file.write_text("PORT=9000\nDEBUG=true\n")

    assert read_environment(env_file, {"PORT": "9001"}) == {"PORT": "9001", "DEBUG": "true"}
