import asyncio
import random
import threading
import time
from collections import Counter

import pytest

from simulator import people_words
from simulator.people import Memory
from simulator.people_crowd import Crowd, NobodyAnswers, spread, without_end
from tests.services import live
from tests.simulator.site import Site, chat, serving


def test_cookies_are_each_persons_own():
    site = Site()
    with serving(site) as url:
        memories = [Memory(cookies=[["who", str(n), "127.0.0.1", "/"]], conversation="c") for n in range(3)]
        _answers, crowd = chat(url, turns=[0, 1, 2, 0, 1, 2], size=3, remembered=memories)

    sent = Counter(headers["cookie"].partition("who=")[2][:1] for _m, path, headers, _f in site.requests)
    assert set(sent) == {"0", "1", "2"}
    assert all(person.returned for person in crowd.people)


def test_a_person_writes_one_message_at_a_time():
    with serving(Site()) as url:
        answers, _crowd = chat(url, turns=[0] * 8)

    assert [answer.state for answer in answers] == ["complete"] * 8


def test_the_same_seed_makes_the_same_people_say_the_same():
    said = []
    for _ in range(2):
        site = Site()
        with serving(site) as url:
            chat(url, turns=[0, 1, 2, 0, 1], size=3, seed=5)
        said.append(sorted(form["text"] for _method, path, _headers, form in site.requests if path == "/messages"))

    assert said[0] == said[1]
    assert len(said[0]) == 5


def test_waiting_for_a_server_ends_when_it_answers():
    listener = live.reserve_port()
    url = live.url_of(listener)
    up = threading.Event()

    def serve_later() -> None:
        time.sleep(0.2)
        with live.serving(Site(), listener):
            up.wait(30)

    server = threading.Thread(target=serve_later)
    server.start()

    async def wait() -> None:
        async with Crowd(url, size=1, rng=random.Random(1)) as crowd:
            with pytest.raises(NobodyAnswers):
                await crowd.wait_for_server(0)
            await crowd.wait_for_server(30)

    try:
        asyncio.run(wait())
    finally:
        up.set()
        server.join()


def test_a_patient_crowd_gives_up_on_a_server_that_stays_away():
    async def run(url: str) -> None:
        async with Crowd(url, size=2, rng=random.Random(1)) as crowd:
            await crowd.chat(
                without_end(2, random.Random(1)),
                model="chat-model",
                rate_share=0,
                concurrency=2,
                on_answer=lambda answer: None,
                patience_s=0,
            )

    with live.reserve_port() as unheard, pytest.raises(NobodyAnswers, match="Nothing answers at http://127"):
        asyncio.run(run(live.url_of(unheard)))


def test_everybody_gets_a_turn_before_chance_decides():
    turns = spread(50, 20, random.Random(1))

    assert len(turns) == 50
    assert set(turns) == set(range(20))
    assert len(set(spread(7, 20, random.Random(1)))) == 7


def test_questions_never_wake_what_the_simulated_vendors_listen_for():
    rng = random.Random(1)
    said = {people_words.first_question(rng) for _ in range(2000)} | {people_words.follow_up(rng) for _ in range(200)}

    assert len(said) > 100
    assert not [
        text for text in said if any(word in text.lower() for word in ("slowly", "error please", "code please"))
    ]


def test_ratings_are_about_four_and_a_fifth_on_average():
    rng = random.Random(1)
    given = [people_words.stars(rng) for _ in range(5000)]

    assert set(given) == {1, 2, 3, 4, 5}
    assert sum(given) / len(given) == pytest.approx(4.2, abs=0.05)


def test_about_half_of_the_bad_ratings_have_a_reason_and_no_other_has():
    rng = random.Random(1)
    bad = [people_words.reason(1 + number % 3, rng) for number in range(3000)]

    assert sum(map(bool, bad)) / len(bad) == pytest.approx(0.5, abs=0.03)
    assert {*bad} == {"", *people_words.REASONS}
    assert not any(people_words.reason(rating, rng) for rating in (None, 4, 5) for _ in range(50))
