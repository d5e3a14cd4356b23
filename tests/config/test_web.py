"""The web process's server, and how it ends."""

import time
from threading import Thread
from typing import Any

import httpx2
import pytest

from chat.models import Message
from config.web import HOST, server
from metrics.models import ModelCall
from simulator.upstream import Upstream
from tests.services.live import reserve_port


@pytest.mark.django_db(transaction=True)
def test_a_server_told_to_end_gives_each_reader_a_last_event_and_each_answer_its_end(
    upstream: Upstream, caplog: pytest.LogCaptureFixture, settings: Any
):
    settings.DRAIN_S = 0.5
    listener = reserve_port()
    port = listener.getsockname()[1]
    web = server(host=HOST, port=port)
    thread = Thread(target=web.run, kwargs={"sockets": [listener]})
    thread.start()
    while not web.started:
        time.sleep(0.01)
    seen = []

    with httpx2.Client(base_url=f"http://{HOST}:{port}", timeout=30) as client:
        client.get("/")
        headers = {"X-CSRFToken": client.cookies[settings.CSRF_COOKIE_NAME], "Accept": "application/json"}
        sent = client.post("/messages", data={"text": "Say it slowly", "model": "chat-model"}, headers=headers)
        reply = sent.json()["reply"]
        with client.stream("GET", f"/answers/{reply}/events") as response:
            for line in response.iter_lines():
                seen.append(line)
                web.should_exit = web.should_exit or line == "event: blocks"
    thread.join()

    assert "event: done" in seen
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []
    assert Message.objects.get(id=reply).state == "failed"
    assert Message.objects.get(id=reply).text != ""
    assert ModelCall.objects.get(answer_id=reply).outcome == "abandoned"
