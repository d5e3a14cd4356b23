"""What surrounds the answers: history, accounts, drafts, looks, and the keyboard; in a real browser."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Browser, Dialog, Page, expect

from chat.models import Conversation, Message, User
from metrics.models import ModelCall
from simulator.upstream import Upstream
from tests.browser.steps import SLOW_MS, ask, begun, ended, hurry, questions, reply, write
from tests.chat.factories import ConversationFactory, MessageFactory, UserFactory
from tests.chat.test_markdown import ATTACKS

pytestmark = pytest.mark.browser

PASSWORD = "a-long-enough-password"


def log_in(page: Page, username: str) -> None:
    page.get_by_label("Name").fill(username)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()


def eventually(read: Callable[[], Any], wanted: Any) -> bool:
    """Whether ``read`` says ``wanted`` in the end; each read waits a little."""
    return any(read() == wanted for _ in range(50))


def options_of(page: Page, title: str) -> None:
    """Open the options of a chat in the history."""
    page.get_by_role("listitem").filter(has_text=title).hover()
    page.get_by_label(f"Options for “{title}”").click()


def test_every_page_is_free_of_console_errors_and_csp_violations(page: Page, live_app: str, console_errors: list[str]):
    UserFactory(username="ada", is_staff=True, is_superuser=True)
    for path in ("/", "/accounts/signup/", "/accounts/login/"):
        page.goto(live_app + path)
    log_in(page, "ada")
    ask(page, "Show me code please")
    page.reload()
    page.get_by_role("link", name="Admin").click()
    expect(page).to_have_url(f"{live_app}/admin/")
    assert not console_errors

    page.goto(f"{live_app}/nowhere/")

    expect(page.get_by_role("heading")).to_have_text("There is nothing here")
    assert [error for error in console_errors if "404" not in error] == []
    console_errors.clear()


def test_nothing_that_a_model_or_a_person_writes_runs_or_asks_for_anything(page: Page, live_app: str):
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: pytest.fail(f"a script ran: {dialog.message}"))
    user = UserFactory(username="ada")
    chat = ConversationFactory(user=user, title="<img src=x onerror=alert(1)>'\"")
    for attack in ATTACKS:
        text = attack.replace("\0", "")
        question = MessageFactory(conversation=chat, text=text)
        MessageFactory(conversation=chat, role="assistant", text=text, reply_to=question)
    page.goto(f"{live_app}/accounts/login/?next=/c/{chat.pk}/")

    log_in(page, "ada")

    expect(page.get_by_role("article")).to_have_count(2 * len(ATTACKS))
    expect(page.locator(".blocks :is(img, script, svg, iframe, form, style)")).to_have_count(0)
    assert all(url.startswith(live_app) for url in asked)


def test_signing_up_keeps_a_guests_chats(page: Page, live_app: str):
    page.goto(live_app)
    ask(page, "Asked as a guest")
    guest = User.objects.get()

    page.get_by_role("link", name="Sign up").click()
    page.get_by_label("Name").fill("ada")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign up").click()
    page.get_by_role("link", name="Asked as a guest").click()

    expect(questions(page)).to_have_text("Asked as a guest")
    expect(page.get_by_role("button", name="Log out")).to_be_visible()
    account = User.objects.get()
    assert (account.pk, account.unit, account.username) == (guest.pk, guest.unit, "ada")


def test_logging_in_brings_a_guests_chats_along(page: Page, live_app: str):
    account = UserFactory(username="ada")
    ConversationFactory(user=account, title="Asked long ago")
    page.goto(live_app)
    ask(page, "Asked as a guest")

    page.get_by_role("link", name="Log in").click()
    log_in(page, "ada")

    expect(page.get_by_role("navigation").get_by_role("listitem")).to_have_count(2)
    expect(page.get_by_role("link", name="Asked long ago")).to_be_visible()


def test_logging_out_leaves_nothing_behind(page: Page, live_app: str):
    UserFactory(username="ada")
    page.goto(f"{live_app}/accounts/login/")
    log_in(page, "ada")
    ask(page, "Something private")
    page.get_by_label("Your message").fill("a private draft")

    page.get_by_role("button", name="Log out").click()

    expect(page.get_by_text("You are chatting as a guest.")).to_be_visible()
    expect(page.get_by_role("link", name="Something private")).to_have_count(0)
    assert page.evaluate("localStorage.length") == 0


def test_a_chat_is_renamed_right_after_a_guest_began_it(page: Page, live_app: str):
    page.goto(live_app)
    ask(page, "Tell me about canals")

    options_of(page, "Tell me about canals")
    page.get_by_label("Title").fill("Canals")
    page.get_by_role("button", name="Rename").click()

    expect(page.get_by_role("link", name="Canals", exact=True)).to_have_attribute("aria-current", "page")
    page.reload()
    expect(page.get_by_role("link", name="Canals", exact=True)).to_be_visible()


def test_deleting_asks_first_and_then_leads_to_a_new_chat(page: Page, live_app: str, console_errors: list[str]):
    page.goto(live_app)
    ask(page, "Tell me about canals")
    address = page.url
    questions: list[str] = []

    def refuse(dialog: Dialog) -> None:
        questions.append(dialog.message)
        dialog.dismiss()

    options_of(page, "Tell me about canals")
    page.once("dialog", refuse)
    page.get_by_role("button", name="Delete").click()
    assert Conversation.objects.exists()
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete").click()

    expect(page).to_have_url(f"{live_app}/")
    expect(page.get_by_text("Your chats will be listed here.")).to_be_visible()
    assert questions == ["Delete “Tell me about canals” for good?"]
    page.goto(address)
    expect(page.get_by_role("heading")).to_have_text("There is nothing here")
    console_errors.clear()


def test_deleting_a_chat_stops_the_answer_that_is_being_written_in_it(page: Page, live_app: str):
    page.goto(live_app)
    write(page, "Go slowly")
    begun(page)

    options_of(page, "Go slowly")
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete").click()
    expect(page).to_have_url(f"{live_app}/")

    def outcome() -> str:
        page.wait_for_timeout(100)
        return ModelCall.objects.get().outcome

    assert eventually(outcome, "cancelled")
    assert not Message.objects.exists()


def test_a_draft_is_kept_for_each_chat_until_it_is_sent(page: Page, live_app: str):
    page.goto(live_app)
    ask(page, "Tell me about canals")
    field = page.get_by_label("Your message")
    field.fill("a draft here")
    chat = page.url

    page.get_by_role("link", name="New chat").click()
    expect(field).to_have_value("")
    field.fill("another draft")
    page.goto(chat)
    expect(field).to_have_value("a draft here")
    field.press("Enter")
    expect(questions(page)).to_have_count(2)
    ended(page)
    page.reload()
    expect(field).to_have_value("")
    page.goto(live_app)
    expect(field).to_have_value("another draft")


def test_blank_text_can_not_be_sent(page: Page, live_app: str):
    page.goto(live_app)
    field, send = page.get_by_label("Your message"), page.get_by_role("button", name="Send")

    expect(send).to_be_disabled()
    field.fill("  \n ")
    expect(send).to_be_disabled()
    field.press("Enter")
    field.fill("x")
    expect(send).to_be_enabled()

    assert not Message.objects.exists()


def test_back_leads_to_the_page_before(page: Page, live_app: str):
    page.goto(live_app)
    ask(page)

    page.go_back()

    expect(page).to_have_url(f"{live_app}/")
    expect(page.get_by_role("heading", name="What would you like to know?")).to_be_visible()
    expect(page.get_by_role("article")).to_have_count(0)


def test_everything_works_from_the_keyboard_alone(page: Page, live_app: str):
    page.goto(live_app)
    field = page.get_by_label("Your message")
    expect(field).to_be_focused()

    page.keyboard.type("First line")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("second line")
    page.keyboard.press("Enter")
    ended(page)
    expect(field).to_be_focused()
    expect(questions(page)).to_have_text("First line\nsecond line", use_inner_text=True)

    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Shift+Tab")
    expect(page.get_by_role("button", name="Good reply")).to_be_focused()
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name="Good reply")).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("button", name="Good reply")).to_be_focused()

    page.locator("body").press("Control+Home")
    page.get_by_role("link", name="Skip to the message field").focus()
    expect(page.get_by_role("link", name="Skip to the message field")).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(field).to_be_focused()


def test_what_happens_is_announced_once_and_not_token_by_token(page: Page, live_app: str):
    page.add_init_script("""
        window.said = [];
        addEventListener("DOMContentLoaded", () => {
            const status = document.querySelector("[role=status]");
            new MutationObserver(() => said.push(status.textContent)).observe(status, {childList: true});
        });
    """)
    page.goto(live_app)

    ask(page)

    expect(page.get_by_role("log")).to_have_attribute("aria-live", "off")
    expect(page.get_by_role("status")).to_have_text("Reply complete")
    assert page.evaluate("said") == ["Generating reply", "Reply complete"]


def test_scrolling_follows_only_a_reader_who_is_at_the_end(page: Page, live_app: str, upstream: Upstream):
    page.set_viewport_size({"width": 900, "height": 320})
    page.goto(live_app)
    ask(page, "Show me code please")
    write(page, "Show me code please, slowly")
    begun(page)
    from_end = "document.documentElement.scrollHeight - innerHeight - scrollY"
    assert page.evaluate(from_end) < 60

    page.evaluate("scrollTo(0, 0)")
    blocks = reply(page).locator(".block").count()
    expect(reply(page).locator(".block").nth(blocks)).to_be_attached(timeout=SLOW_MS)

    assert page.evaluate("scrollY") == 0
    page.evaluate("scrollTo(0, 1e6)")
    hurry(upstream)
    ended(page)
    assert page.evaluate(from_end) < 60


def test_on_a_phone_the_history_is_a_drawer_and_nothing_overflows(browser: Browser, live_app: str):
    phone = browser.new_context(viewport={"width": 360, "height": 700}, has_touch=True, is_mobile=True)
    try:
        page = phone.new_page()
        page.goto(live_app)
        ask(page, "Show me code please")
        history = page.get_by_role("navigation")

        expect(history).to_be_hidden()
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        page.get_by_role("button", name="Chats and account").click()
        expect(history.get_by_role("link", name="Show me code please")).to_be_in_viewport()
        expect(page.get_by_role("link", name="Sign up")).to_be_in_viewport()
        page.keyboard.press("Escape")
        expect(history).to_be_hidden()
    finally:
        phone.close()


@pytest.mark.parametrize(("scheme", "dark"), [("light", False), ("dark", True)])
def test_the_pages_follow_the_systems_colours(browser: Browser, live_app: str, scheme: Any, dark: bool):
    context = browser.new_context(color_scheme=scheme)
    try:
        page = context.new_page()
        for path in ("/", "/accounts/login/"):
            page.goto(live_app + path)
            background = page.evaluate("getComputedStyle(document.body).backgroundColor")
            red, green, blue = (int(part) for part in background.removeprefix("rgb(").rstrip(")").split(","))
            assert (red + green + blue < 150) == dark
    finally:
        context.close()


def test_reduced_motion_stands_still(browser: Browser, live_app: str):
    context = browser.new_context(reduced_motion="reduce")
    try:
        page = context.new_page()
        page.goto(live_app)
        write(page, "Go slowly")
        begun(page)

        assert page.evaluate("getComputedStyle(document.querySelector('.waiting span')).animationName") == "none"
    finally:
        context.close()


def test_without_javascript_a_message_still_gets_its_answer(browser: Browser, live_app: str):
    context = browser.new_context(java_script_enabled=False)
    try:
        page = context.new_page()
        page.goto(live_app)
        write(page, "Tell me about canals")
        expect(questions(page)).to_have_text("Tell me about canals")

        def state() -> str | None:
            page.wait_for_timeout(100)
            page.reload()
            return reply(page).get_attribute("data-state")

        assert eventually(state, "complete")
        expect(reply(page).locator(".block").first).not_to_be_empty()
    finally:
        context.close()
