"""The dashboard in a real browser, under the strict CSP: it draws, keeps up without flicker, and fits any screen."""

import re
from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from metrics.models import ModelCall
from metrics.rollup import roll_up
from rollout.changes import Actor, change_rollout
from rollout.models import Rollout, Source
from tests.metrics.factories import ModelCallFactory
from tests.rollout.steps import NAME, much_traffic

pytestmark = pytest.mark.browser

# The page asks every five seconds.
POLL_MS = 5_000
POLLED_MS = 15_000
EARLIER = timedelta(hours=3)
HAS_INK = "canvas => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some(part => part)"


@pytest.fixture
def _our_clock(page: Page) -> None:
    """A test can put the page's clock forward; it must be there before the page is."""
    page.clock.install()


@pytest.fixture
def dashboard(staff_page: Page, live_app: str) -> Page:
    """The last day of a rollout with traffic, a failure and a change in it."""
    now = timezone.now()
    Rollout.objects.update(percent=Decimal(50), created=now - timedelta(days=2))
    much_traffic(now=now, calls=600)
    ModelCallFactory.create_batch(2, started_at=now - EARLIER)
    ModelCallFactory(failed=True, error_detail="OpenAI is over its rate limit.", started_at=now - timedelta(minutes=1))
    change_rollout(NAME, {"percent": Decimal(35)}, actor=Actor(name="ada", source=Source.CLI), why="A quiet week")
    roll_up(now=timezone.now())
    staff_page.goto(f"{live_app}/admin/rollout/rollout/{Rollout.objects.get().pk}/dashboard/")
    return staff_page


def test_charts_are_drawn_and_each_has_its_table(dashboard: Page):
    canvases = dashboard.locator("canvas")
    expect(canvases.first).to_be_visible()
    assert canvases.count() >= 6
    assert all(canvas.evaluate(HAS_INK) for canvas in canvases.all())

    summary = dashboard.locator("#table-requests summary")
    summary.focus()
    dashboard.keyboard.press("Enter")
    table = dashboard.locator("#table-requests")
    expect(table).to_contain_text(re.compile(r"Candidate, expected.*\d", re.S))
    # Newest first, and added up as the figures above them are.
    hours = table.get_by_role("rowheader").all_inner_texts()
    assert len(hours) > 1
    assert hours[-1] == f"{timezone.localtime(ModelCall.objects.earliest('started_at').started_at):%H}:00"
    cells = table.locator("tbody tr td:nth-of-type(1)").all_inner_texts()
    counted = dashboard.get_by_role("region", name="Traffic").get_by_role("row", name="Requests").get_by_role("cell")
    assert sum(int(cell.replace("–", "0")) for cell in cells) == int(counted.first.inner_text().replace(",", ""))
    dashboard.locator("#table-cost summary").click()
    expect(dashboard.locator("#table-cost tbody")).to_contain_text(re.compile(r"\$0\.\d{2,6}"))


@pytest.mark.usefixtures("_our_clock")
def test_new_figures_come_by_themselves_and_nothing_is_torn_down(dashboard: Page):
    dashboard.locator("#table-requests summary").click()
    dashboard.evaluate("document.querySelector('canvas[data-chart=requests]').mine = true")
    dashboard.evaluate("window.scrollTo(0, 500)")
    before = dashboard.locator("#dashboard-seen").get_attribute("data-etag")

    counted = dashboard.get_by_role("region", name="Traffic").get_by_role("row", name="Requests").get_by_role("cell")
    requests = int(counted.first.inner_text())

    ModelCallFactory(candidate=True, started_at=timezone.now())
    roll_up(now=timezone.now())
    dashboard.clock.fast_forward(POLL_MS)

    expect(counted.first).to_have_text(str(requests + 1), timeout=POLLED_MS)
    assert dashboard.locator("#dashboard-seen").get_attribute("data-etag") != before
    assert dashboard.evaluate("document.querySelector('canvas[data-chart=requests]').mine")
    assert dashboard.evaluate("window.scrollY") == 500
    expect(dashboard.locator("#table-requests")).to_have_attribute("open", "")
    assert dashboard.locator("canvas[data-chart=requests]").evaluate(HAS_INK)


@pytest.mark.usefixtures("_our_clock")
def test_a_server_that_does_not_answer_is_told_until_it_does(dashboard: Page, console_errors: list[str]):
    notice = dashboard.get_by_text("the server does not answer")
    expect(notice).to_be_hidden()

    dashboard.route("**/dashboard/live/**", lambda route: route.abort())
    dashboard.clock.fast_forward(POLL_MS)
    expect(notice).to_be_visible(timeout=POLLED_MS)
    expect(dashboard.get_by_role("region", name="Traffic")).to_be_visible()

    dashboard.unroute("**/dashboard/live/**")
    dashboard.clock.fast_forward(POLL_MS)
    expect(notice).to_be_hidden(timeout=POLLED_MS)
    console_errors.clear()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_it_fits_any_screen(dashboard: Page, scheme, width):
    dashboard.emulate_media(color_scheme=scheme)
    dashboard.set_viewport_size({"width": width, "height": 844})

    expect(dashboard.get_by_role("heading", name="Criteria")).to_be_visible()
    assert dashboard.evaluate("document.documentElement.scrollWidth") == width
    assert dashboard.locator("canvas").first.evaluate(HAS_INK)
