"""What the console shows in a real browser: whoever looks, and whatever servers say of themselves."""

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, Page, expect

from tests.console.accessibility import find_faults
from tests.console.chromium import NARROW, WIDE, Visit, visiting
from tests.console.keyboard import log_in_by_keys
from tests.console.town import GUEST_KEY, HOSTILE, MARKUP, NEW, SERVER, TURNED, Town

pytestmark = pytest.mark.anyio

LOOKS = {"light": (WIDE, False), "dark": (WIDE, True), "narrow": (NARROW, False), "narrow and dark": (NARROW, True)}
_IS_TOO_WIDE = "document.documentElement.scrollWidth > document.documentElement.clientWidth"


@pytest.fixture(params=LOOKS)
async def visit(request: pytest.FixtureRequest, browser: Browser, place: Town) -> AsyncIterator[Visit]:
    """Somebody who has logged in, with each look of the page."""
    width, is_dark = LOOKS[request.param]
    async with visiting(browser, place.url, width=width, is_dark=is_dark) as visit:
        await log_in_by_keys(visit.page, place.key)
        yield visit


async def test_axe_finds_nothing_wrong_with_the_log_in(browser: Browser, place: Town) -> None:
    for is_dark in (False, True):
        async with visiting(browser, place.url, width=NARROW, is_dark=is_dark) as visit:
            assert await find_faults(visit.page) == []
            await visit.page.get_by_label("Admin key").fill("wrong")
            await visit.page.get_by_role("button", name="Log in").click()
            await expect(visit.page.get_by_role("alert")).to_have_text("That key is not valid.")
            assert await find_faults(visit.page) == []


async def test_axe_finds_nothing_wrong_with_the_fleet_nor_with_a_form_and_nothing_is_too_wide(
    visit: Visit, place: Town
) -> None:
    page = visit.page
    rollout = await place.begin_rollout(steps=[20, 100], step_s=600)
    try:
        share = page.locator(f"#rollout-{rollout}").get_by_role("progressbar")
        await expect(share).to_have_attribute("value", "20")
        await place.ask_at_once(20)
        await expect(page.get_by_role("table", name=f"Traffic of {SERVER}")).to_contain_text(NEW)
        assert await find_faults(page) == []
        assert await page.evaluate(_IS_TOO_WIDE) is False
        await page.get_by_role("link", name=f"Isolate… {SERVER}", exact=True).click()
        await expect(page.get_by_role("dialog")).to_be_visible()
        assert await find_faults(page) == []
        assert await page.evaluate(_IS_TOO_WIDE) is False
        await page.goto(f"/console/servers/{HOSTILE}/tools")
        assert await find_faults(page) == []
        assert await page.evaluate(_IS_TOO_WIDE) is False
    finally:
        await place.order(f"/v1/rollouts/{rollout}/rollback")
    assert visit.complaints == []


async def test_what_a_hostile_server_says_of_itself_stays_text(browser: Browser, place: Town) -> None:
    async with visiting(browser, place.url) as visit:
        page = visit.page
        await log_in_by_keys(page, place.key)
        await page.get_by_role("link", name=f"Tools (2) of {HOSTILE}", exact=True).click()
        tools = page.get_by_role("listitem")
        assert await tools.locator("code").all_inner_texts() == [MARKUP, TURNED.replace("\u202e", "")]
        assert await _foreign_elements(page) == 0
        await tools.first.get_by_role("link").click()
        await expect(page.get_by_role("heading")).to_have_text(f"Flush what {MARKUP} of {HOSTILE} answered")
        assert await _foreign_elements(page) == 0
        assert visit.complaints == []


async def test_a_page_asks_nobody_but_us_and_its_policy_lets_nothing_else_in(browser: Browser, place: Town) -> None:
    async with visiting(browser, place.url) as visit:
        await log_in_by_keys(visit.page, place.key)
        assert {request.url.startswith(f"{place.url}/") for request in visit.requests} == {True}
        assert visit.complaints == []
        await visit.page.evaluate(
            """() => {
                const script = document.createElement("script");
                script.textContent = "window.ran = true";
                document.body.append(script);
                document.body.setAttribute("style", "color: red");
            }"""
        )
        assert await visit.page.evaluate("window.ran") is None
        assert len(visit.complaints) == 2, visit.complaints


async def test_everything_can_be_done_without_scripts(browser: Browser, place: Town) -> None:
    async with visiting(browser, place.url, scripts=False) as visit:
        page = visit.page
        await page.get_by_label("Admin key").fill(place.key)
        await page.get_by_role("button", name="Log in").click()
        await page.get_by_role("link", name=f"Isolate… {SERVER}", exact=True).click()
        await page.get_by_label("Reason").fill("too loud")
        await page.get_by_label("Seconds").fill("60")
        await page.get_by_role("button", name="Isolate").click()
        await expect(page.locator("#notice")).to_contain_text(f"{SERVER} is isolated. Acknowledged by 1 of 1.")
        await page.reload()
        await expect(page.locator("#notice")).to_be_empty()
        await page.get_by_role("link", name=f"Reset… {SERVER}", exact=True).click()
        await page.get_by_label("Reason").fill("quiet again")
        await page.get_by_role("button", name="Reset").click()
        await expect(page.locator("#notice")).to_contain_text(f"The breakers of {SERVER} are closed.")


async def test_whose_key_is_withdrawn_is_shown_the_log_in(browser: Browser, place: Town) -> None:
    async with visiting(browser, place.url) as visit:
        await log_in_by_keys(visit.page, place.fleet.keys[GUEST_KEY])
        place.withdraw_key(GUEST_KEY)
        await expect(visit.page.get_by_label("Admin key")).to_be_visible()


async def _foreign_elements(page: Page) -> int:
    """How many elements there are that only a text of a server would have made."""
    return await page.locator("img[onerror], main script, main b, template").count()
