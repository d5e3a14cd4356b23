"""Where the middleware works when the chain is asynchronous, as it is in the web process."""

import asyncio
import threading
from typing import Any

import pytest
from django.contrib import messages
from django.contrib.messages.storage.cookie import CookieStorage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.files.uploadhandler import MemoryFileUploadHandler
from django.http import HttpRequest, HttpResponse
from django.test import AsyncRequestFactory

from config.middleware import CsrfViewMiddleware, MessageMiddleware, SessionMiddleware

TOKEN = "a" * 32


async def answer(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


class Place(MemoryFileUploadHandler):
    """Notes which thread reads the form."""

    thread = 0

    def handle_raw_input(self, *given: Any, **more: Any) -> None:
        self.thread = threading.get_ident()
        super().handle_raw_input(*given, **more)


@pytest.mark.parametrize(
    ("token", "refused"), [pytest.param(TOKEN, False, id="the token"), pytest.param("b" * 32, True, id="another token")]
)
def test_a_form_with_files_is_read_in_a_thread_and_its_token_counts(token: str, refused: bool):
    factory = AsyncRequestFactory()
    factory.cookies["csrftoken"] = TOKEN
    request = factory.post("/", {"csrfmiddlewaretoken": token, "file": SimpleUploadedFile("a.txt", b"text")})
    place = Place()
    request.upload_handlers = [place]

    found = asyncio.run(CsrfViewMiddleware(answer)._process_view_async(request, answer, (), {}))

    assert (found is not None) == refused
    assert place.thread not in (0, threading.get_ident())


def test_another_form_is_read_where_the_request_is():
    factory = AsyncRequestFactory()
    factory.cookies["csrftoken"] = TOKEN
    request = factory.post("/", f"csrfmiddlewaretoken={TOKEN}", content_type="application/x-www-form-urlencoded")

    assert asyncio.run(CsrfViewMiddleware(answer)._process_view_async(request, answer, (), {})) is None
    assert request.POST["csrfmiddlewaretoken"] == TOKEN


@pytest.mark.django_db(transaction=True)
def test_a_changed_session_is_stored_and_its_cookie_set():
    async def change(request: HttpRequest) -> HttpResponse:
        request.session["colour"] = "blue"
        return HttpResponse()

    middleware: Any = SessionMiddleware(change)
    response = asyncio.run(middleware(AsyncRequestFactory().get("/")))

    assert response.cookies["sessionid"].value


@pytest.mark.django_db(transaction=True)
def test_a_message_is_kept_for_the_next_page():
    async def tell(request: HttpRequest) -> HttpResponse:
        messages.success(request, "Done.")
        return HttpResponse()

    middleware: Any = SessionMiddleware(MessageMiddleware(tell))
    response = asyncio.run(middleware(AsyncRequestFactory().get("/")))

    following = AsyncRequestFactory().get("/")
    following.COOKIES["messages"] = response.cookies["messages"].value
    assert [str(message) for message in CookieStorage(following)] == ["Done."]
