"""What staff steer with, in a real browser: its pages break no rule of the Content-Security-Policy."""

import pytest
from playwright.sync_api import Page, expect

from rollout.models import Rollout, RolloutChange

pytestmark = pytest.mark.browser


def test_a_percentage_a_tester_and_a_stage_are_set_on_the_rollouts_page(staff_page: Page, live_app: str):
    rollout = Rollout.objects.get()
    staff_page.goto(f"{live_app}/admin/rollout/rollout/{rollout.pk}/change/")
    expect(staff_page.get_by_role("complementary").get_by_role("heading", name="Last 24 hours")).to_be_visible()

    staff_page.get_by_label("Percentage:").fill("15")
    staff_page.get_by_label("Why:").fill("A quiet week")
    staff_page.locator(".field-users .select2-selection").click()
    staff_page.keyboard.type("bob")
    staff_page.get_by_role("option", name="bob").click()
    staff_page.get_by_role("button", name="Add another Stage").click()
    staff_page.get_by_label("Percentage", exact=True).nth(4).fill("60")
    staff_page.get_by_role("button", name="Save and continue editing").click()

    history = staff_page.get_by_role("complementary")
    expect(history).to_contain_text("Percentage: 5 % → 15 %")
    expect(history).to_contain_text("People who test: – → bob")
    expect(history).to_contain_text("A quiet week")
    assert RolloutChange.objects.get().changes["stages"][1][3][0] == "60.00"


def test_disabling_from_the_list_asks_and_can_be_called_off(staff_page: Page, live_app: str):
    staff_page.goto(f"{live_app}/admin/rollout/rollout/")

    def choose() -> None:
        staff_page.get_by_label("Select this object for an action").check()
        staff_page.get_by_label("Action:").select_option("disable")
        staff_page.get_by_role("button", name="Go").click()

    choose()
    staff_page.get_by_role("link", name="No, take me back").click()
    expect(staff_page.get_by_role("heading", name="Select rollout to change")).to_be_visible()
    assert Rollout.objects.get().is_on

    choose()
    staff_page.get_by_label("Why").fill("An outage")
    staff_page.get_by_role("button", name="Yes, disable").click()
    expect(staff_page.get_by_text("1 rollout was changed.")).to_be_visible()
    assert not Rollout.objects.get().is_on


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_rollouts_page_fits_any_screen(staff_page: Page, live_app: str, scheme, width):
    staff_page.emulate_media(color_scheme=scheme)
    staff_page.set_viewport_size({"width": width, "height": 844})

    staff_page.goto(f"{live_app}/admin/rollout/rollout/{Rollout.objects.get().pk}/change/")

    expect(staff_page.get_by_role("complementary")).to_be_visible()
    assert staff_page.evaluate("document.documentElement.scrollWidth") == width


def test_the_documentation_of_the_api_tries_it_out(staff_page: Page, live_app: str):
    staff_page.goto(f"{live_app}/api/docs/")
    steering = staff_page.locator(".opblock-post", has_text="Steer the rollout")
    steering.locator(".opblock-summary-control").click()
    steering.get_by_role("button", name="Try it out").click()
    steering.locator("textarea").fill('{"trafficPercentage": 15}')
    steering.get_by_role("button", name="Execute").click()

    expect(steering.locator(".live-responses-table .response-col_status").last).to_contain_text("200")
    assert Rollout.objects.get().percent == 15


def test_a_ramp_is_steered_by_keyboard(staff_page: Page, live_app: str):
    staff_page.goto(f"{live_app}/admin/rollout/rollout/{Rollout.objects.get().pk}/ramp/")

    staff_page.get_by_label("Why").focus()
    staff_page.keyboard.type("A good week")
    staff_page.get_by_role("button", name="Go on to the next stage").focus()
    staff_page.keyboard.press("Enter")

    expect(staff_page.get_by_text("Done: Go on to the next stage.")).to_be_visible()
    expect(staff_page.get_by_role("row").filter(has_text="→")).to_contain_text("15 %")
    expect(staff_page.get_by_role("region", name="Changes", exact=True)).to_contain_text("A good week")
    staff_page.get_by_role("button", name="Back to before this").first.click()
    expect(staff_page.get_by_text("It is as it was before that change.")).to_be_visible()
    assert Rollout.objects.get().percent == 5


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_ramps_page_fits_any_screen(staff_page: Page, live_app: str, scheme, width):
    staff_page.emulate_media(color_scheme=scheme)
    staff_page.set_viewport_size({"width": width, "height": 844})

    staff_page.goto(f"{live_app}/admin/rollout/rollout/{Rollout.objects.get().pk}/ramp/")

    expect(staff_page.get_by_role("button", name="Roll back")).to_be_visible()
    assert staff_page.evaluate("document.documentElement.scrollWidth") == width
