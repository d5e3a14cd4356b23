from pathlib import Path

import httpx2
import pytest
from django.http import HttpResponse
from django.test import Client, RequestFactory

from config.static_files import StaticFilesMiddleware

CSS = "/static/admin/css/base.css"


@pytest.fixture
def base_css() -> bytes:
    import django.contrib.admin

    return (Path(django.contrib.admin.__file__).parent / "static/admin/css/base.css").read_bytes()


def test_a_static_file_comes_whole_through_a_synchronous_chain(base_css):
    response = Client().get(CSS)

    assert response.status_code == 200
    assert response.headers["Content-Type"] == 'text/css; charset="utf-8"'
    assert response.content == base_css


def test_a_static_file_comes_whole_through_the_asgi_server(live_app, base_css):
    response = httpx2.get(f"{live_app}{CSS}")

    assert response.status_code == 200
    assert response.headers["Content-Type"] == 'text/css; charset="utf-8"'
    assert response.content == base_css


def test_head_ranges_and_conditional_requests_are_answered_as_http_has_them(live_app, base_css):
    head = httpx2.head(f"{live_app}{CSS}")
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["Content-Length"]) == len(base_css)

    part = httpx2.get(f"{live_app}{CSS}", headers={"Range": "bytes=2-5"})
    assert (part.status_code, part.content) == (206, base_css[2:6])

    same = httpx2.get(f"{live_app}{CSS}", headers={"If-Modified-Since": head.headers["Last-Modified"]})
    assert (same.status_code, same.content) == (304, b"")

    assert httpx2.post(f"{live_app}{CSS}").status_code == 405


def test_what_is_no_static_file_goes_on_to_the_site():
    request, page = RequestFactory().get("/static/no-such-file.css"), HttpResponse()

    assert StaticFilesMiddleware(lambda _: page)(request) is page


def test_nothing_outside_the_static_folders_is_served(live_app):
    with httpx2.Client() as client:
        for path in ("/static/../manage.py", "/static/%2e%2e/manage.py", "/static//etc/passwd", "/static/admin/css/"):
            assert client.get(f"{live_app}{path}").status_code == 404
