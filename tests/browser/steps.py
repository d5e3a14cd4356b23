"""What a person does on the chat page, and what they see there."""

import re

import httpx2
from django.conf import settings
from playwright.sync_api import Locator, Page, expect

from simulator.upstream import Upstream

# An answer that "slowly" asks for takes four seconds; the machine may be busy besides.
SLOW_MS = 25_000


def write(page: Page, text: str) -> None:
    """Type a message and send it."""
    page.get_by_label("Your message").fill(text)
    page.get_by_role("button", name="Send").click()


def questions(page: Page) -> Locator:
    """What the person has asked."""
    return page.get_by_role("article", name="You")


def reply(page: Page) -> Locator:
    """The newest reply."""
    return page.get_by_role("article", name="Assistant").last


def ask(page: Page, text: str = "Tell me about canals") -> Locator:
    """Send a message and wait for the whole answer."""
    before = questions(page).count()
    write(page, text)
    expect(questions(page)).to_have_count(before + 1)
    return ended(page)


def ended(page: Page, state: str = "complete") -> Locator:
    """The newest reply, once it has ended so."""
    expect(reply(page)).to_have_attribute("data-state", state, timeout=SLOW_MS)
    return reply(page)


def begun(page: Page) -> Locator:
    """The newest reply, once some of its text is there while it is still being written."""
    expect(reply(page).locator(".block").first).to_contain_text(re.compile(r"\w{3}"))
    expect(reply(page)).to_have_attribute("data-state", "running")
    return reply(page)


def hurry(upstream: Upstream) -> None:
    """What is left of slow answers comes at once."""
    upstream.slow_answer_s = 0.1


def letters(found: Locator) -> int:
    """How many letters a reply shows. Markdown's signs come and go as a text grows; its letters only come."""
    return sum(character.isalpha() for character in found.locator(".blocks").inner_text())


def upstream_behaves(**changes: object) -> None:
    """Change how both simulated vendors behave, from the next request on."""
    address = f"{settings.GEMINI_BASE_URL}/_simulator/behaviour"
    httpx2.put(address, json={"openai": changes, "gemini": changes}).raise_for_status()
