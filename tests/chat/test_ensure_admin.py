import stat
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from chat.management.commands import ensure_admin
from chat.models import User

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def var(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setattr(ensure_admin, "VAR_DIR", tmp_path / "var")
    monkeypatch.delenv("ADMIN_PASSWORD", raising=False)
    return tmp_path / "var"


def run() -> str:
    out = StringIO()
    call_command("ensure_admin", stdout=out)
    return out.getvalue()


def kept(var: Path) -> str:
    return (var / "admin-password").read_text().strip()


def admin() -> User:
    return User.objects.get(username="admin")


def test_a_made_up_password_is_printed_once_kept_and_works(var):
    printed = run()

    assert kept(var) in printed
    assert len(kept(var)) >= 16
    assert admin().check_password(kept(var))
    assert admin().is_superuser
    assert admin().is_staff
    assert run() == ""


def test_the_password_file_is_its_owners_alone_even_if_it_was_not(var):
    var.mkdir()
    (var / "admin-password").write_text("old")
    (var / "admin-password").chmod(0o644)

    run()

    assert stat.S_IMODE((var / "admin-password").stat().st_mode) == 0o600


def test_a_given_password_is_used_and_not_printed(var, monkeypatch):
    monkeypatch.setenv("ADMIN_PASSWORD", "given by the operator")

    assert "given by the operator" not in run()

    assert admin().check_password("given by the operator")
    assert kept(var) == "given by the operator"


def test_another_given_password_replaces_the_old_one(var, monkeypatch):
    run()
    monkeypatch.setenv("ADMIN_PASSWORD", "another one")

    assert run() != ""
    assert admin().check_password("another one")
    assert kept(var) == "another one"

    assert run() == ""


def test_a_password_that_was_changed_in_admin_stays():
    run()
    account = admin()
    account.set_password("changed in admin")
    account.save()

    run()

    assert admin().check_password("changed in admin")


@pytest.mark.parametrize("name", ["admin", "Admin"])
def test_a_persons_account_of_that_name_never_becomes_a_superuser(name):
    User.objects.create_user(username=name, password="a person's own")

    with pytest.raises(CommandError, match="is not a superuser"):
        run()

    assert not User.objects.get(username=name).is_superuser
