"""Asking and being answered, in a real browser, against the whole app and the simulated vendors."""

import re

import pytest
from playwright.sync_api import Page, Route, expect

from chat.models import Message, User
from metrics.models import ModelCall
from simulator.upstream import Upstream
from tests.browser.steps import SLOW_MS, ask, begun, ended, hurry, letters, questions, reply, upstream_behaves, write

pytestmark = pytest.mark.browser


def test_a_guest_asks_and_sees_the_answer_come_in_as_markdown(page: Page, live_app: str):
    page.goto(live_app)

    write(page, "Show me code please")
    answer = ended(page)

    expect(answer.locator("pre[data-language=python] .k").first).to_be_visible()
    expect(page).to_have_url(re.compile(r"/c/[0-9a-f-]{36}/$"))
    expect(page).to_have_title("Show me code please · Sluice")
    expect(page.get_by_role("navigation").locator("[aria-current=page]")).to_have_text("Show me code please")
    expect(page.get_by_role("heading", name="What would you like to know?")).to_have_count(0)
    expect(page.get_by_label("Your message")).to_be_focused()
    assert User.objects.get().is_guest


def test_what_streamed_in_is_what_a_reload_shows(page: Page, live_app: str):
    page.goto(live_app)
    streamed = ask(page, "Show me code please").locator(".blocks").inner_html()

    page.reload()

    assert reply(page).locator(".blocks").inner_html() == streamed


def test_the_second_message_goes_on_in_the_same_chat(page: Page, live_app: str):
    page.goto(live_app)
    ask(page, "The first question")

    ask(page, "The second question")
    page.reload()

    expect(page.get_by_role("article")).to_have_count(4)
    expect(page.get_by_role("navigation").get_by_role("listitem")).to_have_count(1)


def test_a_suggestion_is_sent_with_one_click(page: Page, live_app: str):
    page.goto(live_app)
    suggestion = page.locator("[data-suggestion]").first
    words = suggestion.inner_text()

    suggestion.click()

    ended(page)
    expect(questions(page)).to_have_text(words)


def test_a_reload_in_mid_answer_goes_on_and_text_never_shrinks(page: Page, live_app: str, upstream: Upstream):
    upstream.slow_answer_s = 20
    page.add_init_script("""
        window.lengths = [];
        new MutationObserver(() => {
            const blocks = document.querySelector(".reply .blocks");
            if (blocks) lengths.push(blocks.textContent.replace(/\\P{L}/gu, "").length);
        }).observe(document, {subtree: true, childList: true, characterData: true});
    """)
    page.goto(live_app)
    write(page, "Go slowly")
    before = letters(begun(page))

    for _ in range(2):
        page.wait_for_timeout(600)
        page.reload()
        assert letters(begun(page)) >= before
        before = letters(reply(page))
    hurry(upstream)
    ended(page)

    lengths = page.evaluate("lengths")
    assert len(lengths) > 1
    assert lengths == sorted(lengths)
    assert lengths[-1] > before


def test_a_second_tab_sees_the_same_answer(page: Page, live_app: str, upstream: Upstream):
    page.goto(live_app)
    write(page, "Go slowly")
    begun(page)

    second = page.context.new_page()
    second.goto(page.url)
    begun(second)
    hurry(upstream)

    assert ended(second).locator(".blocks").inner_html() == ended(page).locator(".blocks").inner_html()


def test_whoever_leaves_and_returns_finds_the_whole_answer(page: Page, live_app: str, upstream: Upstream):
    page.goto(live_app)
    write(page, "Go slowly")
    begun(page)

    page.get_by_role("link", name="New chat").click()
    expect(page.get_by_role("heading", name="What would you like to know?")).to_be_visible()
    page.go_back()
    hurry(upstream)

    ended(page)
    assert letters(reply(page)) > 50


def test_finished_blocks_keep_their_nodes_while_the_rest_comes_in(page: Page, live_app: str):
    page.goto(live_app)
    write(page, "Go slowly")
    expect(begun(page).locator(".block")).not_to_have_count(1, timeout=SLOW_MS)
    page.evaluate("document.querySelector('.block').seen = true")

    ended(page)

    assert page.evaluate("document.querySelector('.block').seen") is True


def test_stop_keeps_the_text_also_after_a_reload(page: Page, live_app: str):
    page.goto(live_app)
    write(page, "Go slowly")
    begun(page)

    page.get_by_role("button", name="Stop").click()
    answer = ended(page, "stopped")
    kept = answer.locator(".blocks").inner_text()
    expect(page.get_by_role("button", name="Stop")).to_have_count(0)
    expect(page.get_by_role("status")).to_contain_text("Reply stopped")
    page.reload()

    assert kept
    assert reply(page).locator(".blocks").inner_text() == kept
    expect(reply(page)).to_contain_text("You stopped this reply.")


def test_stop_is_there_only_while_a_reply_is_being_written(page: Page, live_app: str, upstream: Upstream):
    page.goto(live_app)
    expect(page.get_by_role("button", name="Stop")).to_have_count(0)

    write(page, "Go slowly")
    begun(page)
    page.get_by_label("Your message").fill("already typing the next one")

    expect(page.get_by_role("button", name="Stop")).to_be_enabled()
    expect(page.get_by_role("button", name="Send")).to_be_disabled()
    hurry(upstream)
    ended(page)
    expect(page.get_by_role("button", name="Stop")).to_have_count(0)
    expect(page.get_by_role("button", name="Send")).to_be_enabled()


def test_a_failure_is_said_in_words_and_can_be_tried_again(page: Page, live_app: str):
    page.goto(live_app)
    upstream_behaves(error_rate=1.0)
    write(page, "Tell me about canals")
    failed = ended(page, "failed")
    expect(failed).to_contain_text("The assistant can't be reached right now.")

    upstream_behaves(error_rate=0.0)
    page.get_by_role("button", name="Try again").click()
    ended(page)
    page.reload()

    expect(reply(page)).to_have_attribute("data-state", "complete")
    expect(page.get_by_role("article")).to_have_count(2)
    expect(page.get_by_role("button", name="Try again")).to_have_count(0)


def test_trying_again_may_fail_again(page: Page, live_app: str):
    page.goto(live_app)
    write(page, "An error please")
    ended(page, "failed")

    for _ in range(2):
        before = reply(page).get_attribute("id") or ""
        page.get_by_role("button", name="Try again").click()
        expect(reply(page)).not_to_have_attribute("id", before)
        ended(page, "failed")

    expect(page.get_by_role("article")).to_have_count(2)


def test_a_message_that_does_not_get_through_stays_in_the_field(page: Page, live_app: str, console_errors: list[str]):
    page.goto(live_app)
    page.route("**/messages", lambda route: route.abort())

    write(page, "Tell me about canals")

    expect(page.get_by_role("alert")).to_contain_text("There is no connection to the server.")
    expect(page.get_by_label("Your message")).to_have_value("Tell me about canals")
    page.unroute("**/messages")
    page.get_by_role("button", name="Send").click()
    ended(page)
    expect(page.get_by_role("alert")).to_be_empty()
    console_errors.clear()


def test_a_message_whose_answer_got_lost_is_sent_again_as_the_same(
    page: Page, live_app: str, console_errors: list[str]
):
    def lose(route: Route) -> None:
        route.fetch()
        route.abort()

    page.goto(live_app)
    ask(page, "A first question, which makes the guest")
    page.route("**/messages", lose)
    write(page, "Only once")
    expect(page.get_by_role("alert")).not_to_be_empty()
    page.unroute("**/messages")

    page.get_by_role("button", name="Send").click()

    expect(questions(page)).to_have_count(2)
    ended(page)
    assert Message.objects.filter(text="Only once").count() == 1
    console_errors.clear()


def test_a_refused_message_says_why_and_stays(page: Page, live_app: str, console_errors: list[str]):
    page.goto(live_app)
    page.evaluate("document.querySelector('#model option').value = 'no-such-model'")

    write(page, "Tell me about canals")

    expect(page.get_by_role("alert")).to_have_text("This model is not available. Choose another one.")
    expect(page.get_by_label("Your message")).to_have_value("Tell me about canals")
    console_errors.clear()


def test_thinking_is_shown_folded(page: Page, live_app: str):
    body = 'id: 1\nevent: reasoning\ndata: {"text": "Let me <b>see</b>."}\n\n'
    page.route("**/events", lambda route: route.fulfill(body=body, content_type="text/event-stream"))
    page.goto(live_app)
    write(page, "Tell me about canals")
    thought = reply(page).get_by_text("Let me <b>see</b>.")

    expect(reply(page).get_by_text("Thinking")).to_be_visible()
    expect(thought).to_be_hidden()
    reply(page).get_by_text("Thinking").click()
    expect(thought).to_be_visible()


def test_a_rating_can_be_given_changed_and_taken_back_and_is_there_after_a_reload(page: Page, live_app: str):
    page.goto(live_app)
    ask(page)
    good = page.get_by_role("button", name="Good reply")
    bad = page.get_by_role("button", name="Bad reply")

    good.click()
    expect(good).to_have_attribute("aria-pressed", "true")
    page.reload()
    expect(good).to_have_attribute("aria-pressed", "true")

    bad.click()
    expect(bad).to_have_attribute("aria-pressed", "true")
    expect(good).to_have_attribute("aria-pressed", "false")
    page.reload()
    expect(bad).to_have_attribute("aria-pressed", "true")
    assert Message.objects.get(role="assistant").rating == 1

    bad.click()
    expect(bad).to_have_attribute("aria-pressed", "false")
    page.reload()
    expect(bad).to_have_attribute("aria-pressed", "false")
    assert Message.objects.get(role="assistant").rating is None


def test_a_bad_reply_gets_a_reason_by_keyboard_that_is_there_after_a_reload(page: Page, live_app: str):
    page.set_viewport_size({"width": 360, "height": 640})
    page.goto(live_app)
    ask(page, "Show me code please")
    good, bad = (page.get_by_role("button", name=name, exact=True) for name in ("Good reply", "Bad reply"))
    reasons = page.get_by_role("group", name="What was wrong?")
    slow = reasons.get_by_role("button", name="Too slow")
    expect(reasons).to_have_count(0)

    bad.press("Enter")
    expect(bad).to_be_focused()
    expect(reasons.get_by_role("button")).to_have_count(6)
    assert reasons.evaluate(NOTHING_LIES_OVER_ITS_BUTTONS)
    for _ in range(3):
        page.keyboard.press("Tab")
    expect(slow).to_be_focused()
    page.keyboard.press("Space")
    expect(slow).to_have_attribute("aria-pressed", "true")
    expect(slow).to_be_focused()

    page.reload()
    expect(slow).to_have_attribute("aria-pressed", "true")
    assert rated() == (1, "slow")

    slow.press("Enter")
    expect(slow).to_have_attribute("aria-pressed", "false")
    assert rated() == (1, "")
    reasons.get_by_role("button", name="Something else").press("Enter")
    expect(reasons.get_by_role("button", pressed=True)).to_have_text(["Something else"])

    good.press("Enter")
    expect(good).to_have_attribute("aria-pressed", "true")
    expect(reasons).to_have_count(0)
    assert rated() == (5, "")


NOTHING_LIES_OVER_ITS_BUTTONS = """
    group => [...group.querySelectorAll("button")].every((button) => {
        const { x, y, width, height } = button.getBoundingClientRect();
        return document.elementFromPoint(x + width / 2, y + height / 2) === button;
    })
"""


def rated() -> tuple[int | None, str]:
    message = Message.objects.get(role="assistant")
    return message.rating, message.rating_reason


def test_the_chosen_model_answers_and_stays_chosen(page: Page, live_app: str):
    page.goto(live_app)
    page.get_by_label("Model").select_option("Chat with reasoning")

    ask(page)
    page.reload()

    expect(page.get_by_label("Model")).to_have_value("chat-model-reasoning")
    assert ModelCall.objects.get().requested_model == "chat-model-reasoning"
