"""One answer over HTTP: the real app behind uvicorn, a real client."""

import json
import re
import uuid
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from django.conf import settings

from chat.models import Message, User
from metrics.models import ModelCall

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def visitor(live_app: str) -> Iterator[httpx2.Client]:
    """Somebody with a cookie jar who has opened the page."""
    with httpx2.Client(base_url=live_app, timeout=30) as client:
        client.get("/")
        yield client


def post(client: httpx2.Client, path: str, **data: str) -> httpx2.Response:
    headers = {"X-CSRFToken": client.cookies[settings.CSRF_COOKIE_NAME], "Accept": "application/json"}
    return client.post(path, data=data, headers=headers)


def ask(client: httpx2.Client, text: str = "Hello there", **more: str) -> dict[str, Any]:
    response = post(client, "/messages", text=text, model="chat-model", **more)
    assert response.status_code == 201, response.text
    answer: dict[str, Any] = response.json()
    return answer


def read_events(client: httpx2.Client, reply: str, last_event_id: int = 0) -> list[tuple[str, int, dict[str, Any]]]:
    """(event, id, data) of each server-sent event to the stream's end."""
    headers = {"Last-Event-ID": str(last_event_id)} if last_event_id else {}
    return parse(client.get(f"/answers/{reply}/events", headers=headers).text)


def parse(body: str) -> list[tuple[str, int, dict[str, Any]]]:
    found = []
    for block in body.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and not line.startswith(":"))
        if "event" in fields:
            found.append((fields["event"], int(fields.get("id", 0)), json.loads(fields["data"])))
    return found


def shown(events: list[tuple[str, int, dict[str, Any]]], blocks: list[str] | None = None) -> list[str]:
    """What a page shows after these events."""
    blocks = list(blocks or [])
    for name, _, data in events:
        if name == "blocks":
            blocks[data["start"] :] = data["blocks"]
    return blocks


def test_a_stranger_becomes_a_guest_and_is_answered(visitor: httpx2.Client):
    answer = ask(visitor)

    events = read_events(visitor, answer["reply"])

    assert User.objects.get().is_guest
    assert events[-1][0] == "done"
    assert events[-1][2]["state"] == "complete"
    assert 'class="block"' in events[-1][2]["html"]
    for block in shown(events):
        assert block in events[-1][2]["html"]
    assert visitor.get(answer["conversation"]["url"]).status_code == 200


def test_a_reader_who_comes_back_gets_only_what_it_has_not_seen(visitor: httpx2.Client):
    reply = ask(visitor, "Say it slowly")["reply"]
    first: list[tuple[str, int, dict[str, Any]]] = []
    with visitor.stream("GET", f"/answers/{reply}/events") as response:
        for line in response.iter_lines():
            if line.startswith("id: "):
                number = int(line[4:])
            elif line.startswith("data: ") and '"start"' in line:
                first.append(("blocks", number, json.loads(line[6:])))
                if len(first) == 4:
                    break

    again = {"Last-Event-ID": str(first[-1][1])}
    with visitor.stream("GET", f"/answers/{reply}/events", headers=again) as response:
        lines = response.iter_lines()
        # The stream has begun, before the end that is asked for now.
        begun = next(lines)
        post(visitor, f"/answers/{reply}/stop")
        rest = parse("\n".join([begun, *lines]))
    whole = read_events(visitor, reply)

    numbers = [number for name, number, _ in rest if name == "blocks"]
    assert all(number > first[-1][1] for number in numbers)
    final = rest[-1][2]["html"]
    assert shown(rest, shown(first)) == [block for block in shown(rest, shown(first)) if block in final]
    # A busy machine may have come to its end before the stop.
    assert whole[-1][2]["state"] in ("stopped", "complete")


def test_stop_ends_the_answer_and_keeps_its_text(visitor: httpx2.Client):
    reply = ask(visitor, "Say it slowly")["reply"]
    with visitor.stream("GET", f"/answers/{reply}/events") as response:
        next(line for line in response.iter_lines() if line.startswith("event: blocks"))

    stopped = post(visitor, f"/answers/{reply}/stop")
    events = read_events(visitor, reply)

    assert stopped.status_code == 204
    assert events[-1][2]["state"] == "stopped"
    assert Message.objects.get(id=reply).text
    assert ModelCall.objects.get().outcome == "cancelled"


def test_leaving_the_page_does_not_end_the_answer(visitor: httpx2.Client):
    reply = ask(visitor)["reply"]
    with visitor.stream("GET", f"/answers/{reply}/events") as response:
        next(line for line in response.iter_lines() if line.startswith("event: "))

    events = read_events(visitor, reply)

    assert events[-1][2]["state"] == "complete"


def test_a_failed_answer_is_said_in_words_and_can_be_tried_again(visitor: httpx2.Client):
    reply = ask(visitor, "An error please")["reply"]
    failed = read_events(visitor, reply)[-1][2]

    again = post(visitor, f"/answers/{reply}/retry")

    assert failed["state"] == "failed"
    # Ids are random digits, and may hold any number.
    shown = re.sub(r"[0-9a-f-]{36}", "", failed["html"])
    for leak in ("503", "Traceback", "http://", "overloaded", "Error"):
        assert leak not in shown
    assert again.status_code == 201
    assert again.json()["reply"] != reply
    assert reply not in again.json()["html"]
    assert read_events(visitor, again.json()["reply"])[-1][0] == "done"


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        ({"text": "  ", "model": "chat-model"}, 400, "empty"),
        ({"text": "x" * 32_001, "model": "chat-model"}, 413, "too_long"),
        ({"text": "x", "model": "nope"}, 400, "unknown_model"),
        ({"text": "x", "model": "chat-model", "conversation": str(uuid.uuid4())}, 404, "not_found"),
        ({"text": "x", "model": "chat-model", "conversation": "12"}, 404, "not_found"),
        ({"text": "x", "model": "chat-model", "client_id": "12"}, 400, "bad_request"),
    ],
)
def test_bad_messages_are_refused_in_words_with_a_code(
    visitor: httpx2.Client, data: dict[str, str], status: int, code: str
):
    response = post(visitor, "/messages", **data)

    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response.json()["error"].endswith(".")
    assert not Message.objects.exists()


def test_a_form_without_javascript_leads_to_the_conversation(visitor: httpx2.Client):
    token = visitor.cookies[settings.CSRF_COOKIE_NAME]

    response = visitor.post("/messages", data={"text": "Hi", "model": "chat-model", "csrfmiddlewaretoken": token})

    assert response.status_code == 302
    assert "Hi" in visitor.get(response.headers["location"]).text


def test_without_the_csrf_token_nothing_is_taken(visitor: httpx2.Client):
    response = visitor.post("/messages", data={"text": "Hi", "model": "chat-model"})

    assert response.status_code == 403
    assert not Message.objects.exists()


def test_somebody_else_finds_none_of_it(visitor: httpx2.Client, live_app: str):
    answer = ask(visitor)
    reply = answer["reply"]
    with httpx2.Client(base_url=live_app, timeout=30) as stranger:
        stranger.get("/")
        ask(stranger)
        paths = [("stop", {}), ("retry", {}), ("rating", {"value": "1"})]
        refused = [post(stranger, f"/answers/{reply}/{path}", **data) for path, data in paths]
        refused.append(stranger.get(f"/answers/{reply}/events"))
        missing = stranger.get(f"/answers/{uuid.uuid4()}/events")
        page = stranger.get(answer["conversation"]["url"])

    assert [response.status_code for response in refused] == [404] * 4
    assert {response.text for response in refused} == {missing.text}
    assert page.status_code == 404


@pytest.mark.parametrize("value", ["0", "6", "five", "1.5", "-1", "٣"])
def test_only_one_to_five_is_a_rating(visitor: httpx2.Client, value: str):
    reply = ask(visitor)["reply"]

    response = post(visitor, f"/answers/{reply}/rating", value=value)

    assert (response.status_code, response.json()["code"]) == (400, "bad_rating")
    assert Message.objects.get(id=reply).rating is None


def test_a_rating_is_kept_and_reaches_the_figures(visitor: httpx2.Client):
    reply = ask(visitor)["reply"]

    response = post(visitor, f"/answers/{reply}/rating", value="5")

    assert response.status_code == 200
    assert Message.objects.get(id=reply).rating == 5
    assert ModelCall.objects.get(answer_id=reply).rating == 5


def test_a_reason_for_a_bad_rating_is_kept_and_reaches_the_figures(visitor: httpx2.Client):
    reply = ask(visitor)["reply"]

    response = post(visitor, f"/answers/{reply}/rating", value="1", reason="slow")

    assert response.status_code == 200
    assert Message.objects.get(id=reply).rating_reason == "slow"
    assert ModelCall.objects.get(answer_id=reply).rating_reason == "slow"


@pytest.mark.parametrize(("value", "reason"), [("1", "boring"), ("1", "\x00"), ("5", "slow"), ("", "slow")])
def test_a_reason_that_does_not_go_with_the_rating_is_refused_in_words(visitor: httpx2.Client, value: str, reason: str):
    reply = ask(visitor)["reply"]
    post(visitor, f"/answers/{reply}/rating", value="2", reason="style")

    response = post(visitor, f"/answers/{reply}/rating", value=value, reason=reason)

    assert (response.status_code, response.json()["code"]) == (400, "bad_reason")
    assert response.json()["error"].startswith("Only a rating from 1 to 3 can have a reason")
    message = Message.objects.get(id=reply)
    assert (message.rating, message.rating_reason) == (2, "style")


def test_the_same_send_twice_at_once_gives_one_answer(visitor: httpx2.Client):
    client_id = str(uuid.uuid4())

    first, second = ask(visitor, client_id=client_id), ask(visitor, client_id=client_id)

    assert first["reply"] == second["reply"]
    assert ModelCall.objects.count() == 1
