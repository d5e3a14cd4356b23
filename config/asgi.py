"""The web process: Django over ASGI, and an orderly end for the answers that are still running."""

import asyncio
import os
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from asgiref.sync import ThreadSensitiveContext
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django_application = get_asgi_application()

from django.conf import settings  # noqa: E402  (needs Django to be set up)

from chat import generation, tracing  # noqa: E402
from chat.providers import registry  # noqa: E402
from chat.refusals import refusals  # noqa: E402
from gateway import asgi as gateway  # noqa: E402
from gateway.asgi import PREFIX, application_v1  # noqa: E402

# Where answers are asked for, and followed for as long as they take.
ANSWERS = ("/messages", "/answers/")
# Django keeps a thread for each request until its response has ended; these share one. Next to nothing runs in it:
# what they ask of the database has threads of its own (``chat.threads``).
_answers_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="answers")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


async def drain() -> None:
    """Let running answers finish for ``DRAIN_S`` seconds, then end them."""
    await asyncio.gather(generation.drain(settings.DRAIN_S), gateway.drain(settings.DRAIN_S))
    await refusals.flush()


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Hand requests to Django; on shutdown let running answers finish for ``DRAIN_S`` seconds, then end them."""
    if scope["type"] == "http" and scope["path"].startswith(PREFIX):
        await application_v1(scope, receive, send)
        return
    if scope["type"] == "http" and scope["path"].startswith(ANSWERS):
        async with ThreadSensitiveContext(executor=_answers_thread):
            await django_application(scope, receive, send)  # type: ignore[arg-type]
        return
    if scope["type"] != "lifespan":
        await django_application(scope, receive, send)  # type: ignore[arg-type]
        return
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            registry.warm_up()
            if settings.OTEL_TRACES:
                tracing.turn_on()
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await drain()
            await generation.shut_down(grace_s=0)
            tracing.turn_off()
            await send({"type": "lifespan.shutdown.complete"})
            return
