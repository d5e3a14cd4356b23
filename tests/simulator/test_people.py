import stat
from pathlib import Path

import pytest

from simulator import people
from simulator.people import Answer, Memory
from simulator.people_file import Damaged, load_people, save_people
from simulator.people_tally import Tally, percentile
from tests.services import live
from tests.simulator.site import Site, chat, serving

# --- One person -----------------------------------------------------------------------------


def test_a_person_sends_what_the_page_sends_and_reads_the_reply_to_its_end():
    site = Site()
    with serving(site) as url:
        [answer], _crowd = chat(url, turns=[0])

    assert (answer.state, answer.errors) == ("complete", [])
    assert answer.reply is not None
    assert answer.ttft_ms is not None
    assert [(method, path) for method, path, *_ in site.requests[:3]] == [
        ("GET", "/"),
        ("POST", "/messages"),
        ("GET", f"/answers/{answer.reply}/events"),
    ]
    _method, _path, headers, form = site.requests[1]
    assert set(form) == {"text", "model", "conversation", "client_id"}
    assert (form["model"], form["conversation"]) == ("chat-model", "")
    assert (headers["origin"], headers["accept"]) == (url, "application/json")


def test_each_message_has_its_own_client_id_and_most_follow_in_a_conversation():
    site = Site()
    with serving(site) as url:
        answers, _crowd = chat(url, turns=[0] * 9)

    sent = [form for _method, path, _headers, form in site.requests if path == "/messages"]
    assert len(answers) == len({form["client_id"] for form in sent}) == 9
    new = [form for form in sent if not form["conversation"]]
    assert 2 <= len(new) <= 4


def test_first_words_count_from_sending_to_the_first_blocks():
    ticks = iter([10.0, 10.25, 99.0])
    with serving(Site()) as url:
        [answer], _crowd = chat(url, turns=[0], clock=lambda: next(ticks))

    assert answer.ttft_ms == 250


def test_a_broken_stream_is_taken_up_again_after_the_last_event_seen(monkeypatch):
    monkeypatch.setattr(people, "RECONNECT_S", 0.01)
    site = Site(cut=2)
    with serving(site) as url:
        [answer], _crowd = chat(url, turns=[0])

    assert (answer.state, answer.errors) == ("complete", [])
    streams = [headers.get("last-event-id") for _method, path, headers, _form in site.requests if "/events" in path]
    assert streams == [None, "1", "2"]


def test_a_reply_whose_end_never_comes_is_lost_and_the_next_message_starts_a_new_chat(monkeypatch):
    monkeypatch.setattr(people, "RECONNECT_S", 0.01)
    monkeypatch.setattr(people, "TRIES", 3)
    site = Site(cut=3)
    with serving(site) as url:
        answers, _crowd = chat(url, turns=[0, 0])

    assert [answer.state for answer in answers] == ["lost", "complete"]
    assert answers[0].errors == ["the reply's end never came"]
    sent = [form["conversation"] for _method, path, _headers, form in site.requests if path == "/messages"]
    assert sent == ["", ""]


def test_a_person_does_not_wait_for_ever(monkeypatch):
    monkeypatch.setattr(people, "PATIENCE_S", 0.05)
    with serving(Site(cut=1)) as url:
        [answer], _crowd = chat(url, turns=[0])

    assert (answer.state, answer.errors) == ("lost", ["the reply's end never came"])


def test_a_failed_reply_is_told_in_the_words_of_the_page():
    html = '<p class="note problem">The model can&#x27;t be reached.</p>'
    with serving(Site(state="failed", html=html)) as url:
        [answer], _crowd = chat(url, turns=[0], rate_share=1.0)

    assert (answer.state, answer.errors) == ("failed", ["The model can't be reached."])
    assert (answer.ttft_ms, answer.rating) == (None, None)


@pytest.mark.parametrize(
    ("refuse", "words"),
    [((409, {"error": "Wait for it."}), "Wait for it."), ((500, "<h1>Oh</h1>"), "HTTP 500 at /messages")],
)
def test_a_message_that_is_not_taken_is_told_in_words(refuse, words):
    with serving(Site(refuse=refuse)) as url:
        [answer], crowd = chat(url, turns=[0])

    assert (answer.state, answer.reply, answer.errors) == ("untaken", None, [words])
    assert crowd.people[0].memory() is None


def test_nobody_there_is_told_in_words():
    with live.reserve_port() as unheard:
        [answer], _crowd = chat(live.url_of(unheard), turns=[0])

    assert (answer.state, answer.errors) == ("untaken", ["no connection"])


def test_about_every_fifth_person_signs_up_once_and_goes_on_in_the_same_chat():
    site = Site()
    with serving(site) as url:
        _answers, crowd = chat(url, turns=[*range(60), *range(60)], size=60)

    accounts = [person.account for person in crowd.people if person.account]
    posts = [form for method, path, _headers, form in site.requests if (method, path) == ("POST", "/accounts/signup/")]
    assert 4 <= len(accounts) <= 24
    assert sorted(form["username"] for form in posts) == sorted(accounts)


def test_everybody_rates_when_the_share_is_one():
    site = Site()
    with serving(site) as url:
        answers, _crowd = chat(url, turns=[0, 0, 0], rate_share=1.0)

    sent = [int(form["value"]) for _method, path, _headers, form in site.requests if path.endswith("/rating")]
    assert sent == [answer.rating for answer in answers]
    assert all(1 <= value <= 5 for value in sent)


def test_some_of_those_who_rate_badly_say_why():
    site = Site()
    with serving(site) as url:
        answers, _crowd = chat(url, turns=[0] * 40, rate_share=1.0)

    sent = [form["reason"] for _method, path, _headers, form in site.requests if path.endswith("/rating")]
    assert sent == [answer.rating_reason for answer in answers]
    assert any(sent)
    assert all(answer.rating is not None and answer.rating <= 3 for answer in answers if answer.rating_reason)


# --- What stays -----------------------------------------------------------------------------

SOMEBODY = Memory(cookies=[["sessionid", "s", "127.0.0.1", "/"]], conversation="c", account="sim-1", arm="candidate")


def test_people_are_kept_by_address_and_only_their_owner_can_read_them(tmp_path):
    path = tmp_path / "var" / "people.json"
    other = Memory(cookies=[], conversation="d")

    save_people(path, "http://a", [SOMEBODY])
    save_people(path, "http://b", [other])

    assert load_people(path, "http://a") == [SOMEBODY]
    assert load_people(path, "http://b") == [other]
    assert load_people(path, "http://c") == []
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_there_is_nobody_where_there_is_no_file(tmp_path):
    assert load_people(tmp_path / "none.json", "http://a") == []


@pytest.mark.parametrize("content", ["{", "[]", '{"http://a": [{"name": 1}]}', '{"http://a": 5}'])
def test_a_damaged_file_is_told_in_words(tmp_path: Path, content: str):
    path = tmp_path / "people.json"
    path.write_text(content)

    with pytest.raises(Damaged, match="Delete it"):
        load_people(path, "http://a")


# --- What was seen --------------------------------------------------------------------------


def test_messages_without_a_reply_are_counted_whatever_the_reason():
    tally = Tally()
    for state in ("complete", "stopped", "failed", "lost", "untaken"):
        tally.note(Answer(person=0, state=state, errors=[] if state in ("complete", "stopped") else ["oh"]))

    assert tally.unanswered == 3
    assert tally.people == 1
    assert tally.errors == {"oh": 3}


@pytest.mark.parametrize(("percent", "value"), [(50, 3), (95, 5), (20, 1), (21, 2), (100, 5)])
def test_percentiles_are_by_nearest_rank(percent, value):
    assert percentile([5, 1, 4, 2, 3], percent) == value


def test_nothing_has_no_percentile():
    assert percentile([], 50) is None
