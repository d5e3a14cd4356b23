import re
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from django.template.loader import render_to_string
from django.test import Client
from django.utils import timezone

from chat.models import Conversation, Message, User
from chat.words import error_words
from metrics.ratings import REASONS
from tests.chat.factories import ConversationFactory, MessageFactory, UserFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def ada(client: Client) -> User:
    """Signed in in ``client``."""
    user = UserFactory(username="ada")
    client.force_login(user)
    return user


def get(client: Client, path: str) -> str:
    response = client.get(path)
    assert response.status_code == 200
    return response.content.decode()


def article(message: Message) -> str:
    return render_to_string("chat/_message.html", {"message": message})


def selected(html: str) -> list[str]:
    return re.findall(r'<option value="([^"]+)" selected>', html)


def test_a_stranger_gets_a_page_to_chat_on_and_no_row(client: Client):
    html = get(client, "/")

    assert html.count("data-suggestion") == 3
    assert "Your chats will be listed here." in html
    assert settings.CSRF_COOKIE_NAME in client.cookies
    assert not User.objects.exists()


def test_the_new_chat_page_offers_every_model_and_has_the_default_selected(client: Client):
    html = get(client, "/")

    assert re.findall(r'<option value="([^"]+)"', html) == list(settings.CHAT_MODELS)
    assert selected(html) == [settings.DEFAULT_CHAT_MODEL]


def test_a_conversation_keeps_its_own_model(client: Client, ada: User):
    chat = ConversationFactory(user=ada, model="chat-model-reasoning")

    assert selected(get(client, f"/c/{chat.pk}/")) == ["chat-model-reasoning"]


def test_the_history_lists_own_chats_newest_first_and_marks_the_current(client: Client, ada: User):
    now = timezone.now()
    ConversationFactory(user=ada, title="Older", updated_at=now - timedelta(days=1))
    current = ConversationFactory(user=ada, title="Newer", updated_at=now)
    ConversationFactory(title="Somebody else's")

    html = get(client, f"/c/{current.pk}/")

    assert re.findall(r'<a href="/c/[^"]+" title="(\w+)"', html) == ["Newer", "Older"]
    assert re.findall(r'title="(\w+)" dir="auto" aria-current="page"', html) == ["Newer"]
    assert "Somebody else" not in html


def test_the_history_alone_can_be_fetched(client: Client, ada: User):
    chat = ConversationFactory(user=ada)

    html = get(client, f"/history/?current={chat.pk}")

    assert html.startswith("<ul>")
    assert 'aria-current="page"' in html


def test_the_transcript_has_each_answer_after_its_question_and_no_replaced_ones(client: Client, ada: User):
    chat, now = ConversationFactory(user=ada), timezone.now()

    def say(text: str, seconds: int, **more: Any) -> Message:
        return MessageFactory(conversation=chat, text=text, created_at=now + timedelta(seconds=seconds), **more)

    first = say("first question", 0)
    say("replaced answer", 1, role="assistant", reply_to=first, replaced=True)
    say("second question", 2)
    say("late answer", 3, role="assistant", reply_to=first)

    html = get(client, f"/c/{chat.pk}/")

    assert html.index("first question") < html.index("late answer") < html.index("second question")
    assert "replaced answer" not in html


@pytest.mark.parametrize("whose", ["somebody else's", "nobody's", "a stranger's"])
def test_what_is_not_ones_own_is_not_found_in_words(client: Client, whose: str):
    chat = ConversationFactory()
    if whose != "a stranger's":
        client.force_login(UserFactory())
    wanted = uuid4() if whose == "nobody's" else chat.pk

    response = client.get(f"/c/{wanted}/")

    assert response.status_code == 404
    assert "There is nothing here" in response.content.decode()
    assert chat.title not in response.content.decode()


def test_renaming_answers_the_entry_with_its_new_title(client: Client, ada: User):
    chat = ConversationFactory(user=ada)

    response = client.post(f"/c/{chat.pk}/rename/", {"title": "  <b>Locks</b> ", "current": str(chat.pk)})

    html = response.content.decode()
    assert "&lt;b&gt;Locks&lt;/b&gt;</a>" in html
    assert 'aria-current="page"' in html
    assert Conversation.objects.get().title == "<b>Locks</b>"


@pytest.mark.parametrize("title", ["", "   ", "x" * 201, "a\0b"])
def test_a_title_that_is_no_good_changes_nothing(client: Client, ada: User, title: str):
    chat = ConversationFactory(user=ada, title="Locks")

    response = client.post(f"/c/{chat.pk}/rename/", {"title": title})

    assert "Locks</a>" in response.content.decode()
    assert Conversation.objects.get().title == "Locks"


def test_deleting_another_chat_leaves_the_page_where_it_is(client: Client, ada: User):
    chat = MessageFactory(conversation__user=ada).conversation

    response = client.post(f"/c/{chat.pk}/delete/")

    assert response.status_code == 200
    assert "HX-Redirect" not in response.headers
    assert not Conversation.objects.exists()
    assert client.get(f"/c/{chat.pk}/").status_code == 404


def test_deleting_the_current_chat_leads_to_a_new_one(client: Client, ada: User):
    chat = MessageFactory(conversation__user=ada).conversation

    response = client.post(f"/c/{chat.pk}/delete/", {"current": str(chat.pk)})

    assert response.headers["HX-Redirect"] == "/"
    assert not Message.objects.exists()


@pytest.mark.parametrize("what", ["rename", "delete"])
def test_nobody_elses_chat_can_be_touched(client: Client, ada: User, what: str):
    chat = ConversationFactory(title="Locks")

    response = client.post(f"/c/{chat.pk}/{what}/", {"title": "Mine"})

    assert response.status_code == 404
    assert Conversation.objects.get().title == "Locks"


@pytest.mark.parametrize("what", ["rename", "delete"])
def test_a_chat_is_touched_by_post_with_a_csrf_token_only(what: str):
    strict = Client(enforce_csrf_checks=True)
    chat = ConversationFactory()
    strict.force_login(chat.user)

    assert strict.get(f"/c/{chat.pk}/{what}/").status_code == 405
    assert strict.post(f"/c/{chat.pk}/{what}/", {"title": "x"}).status_code == 403
    assert Conversation.objects.get().title == chat.title


@pytest.mark.parametrize(
    ("who", "there", "not_there"),
    [
        ({}, ["/admin/", "Log out"], ["Log in", "Sign up"]),
        ({"is_staff": False}, ["Log out"], ["/admin/", "Sign up"]),
        ({"is_staff": False, "guest": True}, ["Log in", "Sign up"], ["Log out", "/admin/", "guest-"]),
    ],
)
def test_the_account_corner_offers_what_the_person_can_do(
    client: Client, who: dict[str, Any], there: list[str], not_there: list[str]
):
    client.force_login(UserFactory(**{"is_staff": True, **who}))

    corner = get(client, "/").split('<footer class="account">')[1]

    assert all(words in corner for words in there)
    assert not any(words in corner for words in not_there)


def test_what_a_person_wrote_is_shown_as_written():
    html = article(MessageFactory(text="  <b>x</b>\n\n'y' & \u202ez"))

    assert "  &lt;b&gt;x&lt;/b&gt;\n\n&#x27;y&#x27; &amp; \u202ez</div>" in html


def test_a_complete_reply_is_blocks_with_a_rating():
    html = article(MessageFactory(reply=True, text="one\n\n<script>alert(1)</script>"))

    assert '<div class="block" dir="auto"><p>one</p>\n</div><div class="block" dir="auto"><p>&lt;script&gt;' in html
    assert 'data-state="complete"' in html
    assert "data-stream" not in html
    assert "data-retry" not in html
    assert html.count('aria-pressed="false"') == 2


def test_a_running_reply_says_where_its_stream_is_and_has_no_rating():
    message = MessageFactory(running=True, text="so far")

    html = article(message)

    assert f'data-reply="{message.pk}" data-stream="/answers/{message.pk}/events"' in html
    assert f'data-stop="/answers/{message.pk}/stop"' in html
    assert "so far" in html
    assert "rating" not in html
    assert "data-retry" not in html


@pytest.mark.parametrize("state", ["stopped", "failed"])
def test_a_reply_cut_short_keeps_its_text_and_can_be_tried_again(state: str):
    message = MessageFactory(reply=True, state=state, error="broken" if state == "failed" else "", text="so far")

    html = article(message)

    assert "so far" in html
    assert f'data-retry="/answers/{message.pk}/retry"' in html
    assert ("The reply broke off" in html) == (state == "failed")
    assert ("You stopped this reply." in html) == (state == "stopped")


@pytest.mark.parametrize(
    ("rating", "good", "bad"), [(None, 0, 0), (1, 0, 1), (2, 0, 1), (3, 0, 0), (4, 1, 0), (5, 1, 0)]
)
def test_a_rating_is_shown_again(rating: int | None, good: int, bad: int):
    html = article(MessageFactory(reply=True, rating=rating))

    assert len(re.findall(r'id="good-[^>]+aria-pressed="true"', html)) == good
    assert len(re.findall(r'id="bad-[^>]+aria-pressed="true"', html)) == bad


@pytest.mark.parametrize(("rating", "values"), [(None, ["5", "1"]), (5, ["", "1"]), (1, ["5", ""])])
def test_pressing_the_same_thumb_again_takes_the_rating_back(rating: int | None, values: list[str]):
    html = article(MessageFactory(reply=True, rating=rating))

    assert re.findall(r'{"value": "(\d?)"}', html) == values


@pytest.mark.parametrize(("rating", "shown"), [(None, 0), (1, 6), (2, 6), (3, 6), (4, 0), (5, 0)])
def test_a_bad_rating_asks_what_was_wrong(rating: int | None, shown: int):
    html = article(MessageFactory(reply=True, rating=rating))

    offered = re.findall(r'{"value": "(\d)", "reason": "(\w+)"}', html)
    assert offered == [(str(rating), reason) for reason in REASONS[:shown]]
    assert ("What was wrong?" in html) == bool(shown)


def test_the_chosen_reason_is_shown_again_and_pressing_it_takes_it_back():
    message = MessageFactory(reply=True, rating=1, rating_reason="style")

    html = article(message)

    pressed = re.findall(r'id="(\w+)-[^>]+aria-pressed="true" hx-post="([^"]+)" hx-vals=\'([^\']+)\'', html)
    assert pressed == [
        ("bad", f"/answers/{message.pk}/rating", '{"value": ""}'),
        ("style", f"/answers/{message.pk}/rating", '{"value": "1", "reason": ""}'),
    ]


CODES = (
    *("rate_limited", "unavailable", "timeout", "invalid_request", "authentication", "refused", "empty", "broken"),
    *("too_long", "abandoned", "interrupted"),
)


@pytest.mark.parametrize("code", CODES)
def test_every_error_code_has_words_of_its_own(code: str):
    assert error_words(code) != error_words("")
    assert "_" not in error_words(code)


@pytest.mark.parametrize("code", ["", "nobody_knows_this"])
def test_an_unknown_error_code_gets_a_general_sentence(code: str):
    assert error_words(code) == "Something went wrong. Try again."


@pytest.mark.parametrize("path", ["/", "/accounts/login/", "/accounts/signup/", "/nowhere/"])
def test_no_page_holds_a_script_style_or_handler_of_its_own(client: Client, path: str):
    html = client.get(path).content.decode()

    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:|<script(?![^>]*\ssrc=)", html)


def test_the_server_error_page_needs_nothing_that_could_be_broken():
    html = render_to_string("500.html")

    assert "Something went wrong" in html
    assert "/static/" not in html


def test_pages_are_not_kept_by_the_browser(client: Client, ada: User):
    chat = ConversationFactory(user=ada)

    for path in ("/", f"/c/{chat.pk}/", "/history/"):
        assert "no-store" in client.get(path).headers["cache-control"]
