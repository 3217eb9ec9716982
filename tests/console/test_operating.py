"""Operating a real fleet from the console in a real browser, by the keyboard alone."""

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, Locator, Page, expect

from tests.console.chromium import Visit, visiting
from tests.console.keyboard import log_in_by_keys, order_by_keys, tab_to
from tests.console.town import HOSTILE, NEW, OLD, SERVER, SPARE, TURNED, Town

pytestmark = pytest.mark.anyio

_MARK = "window.isTheSamePage = true"


@pytest.fixture(scope="module")
async def visit(browser: Browser, place: Town) -> AsyncIterator[Visit]:
    """Somebody who has logged in by the keyboard, and goes on from there."""
    async with visiting(browser, place.url) as visit:
        await log_in_by_keys(visit.page, place.key)
        yield visit
        assert visit.complaints == []


@pytest.fixture
def page(visit: Visit) -> Page:
    return visit.page


def row(page: Page, panel: str, *texts: str) -> Locator:
    """The row of a panel's tables that has a cell of each of these texts."""
    rows = page.locator(f"#{panel} tbody tr")
    for text in texts:
        rows = rows.filter(has=page.get_by_role("cell", name=text).or_(page.get_by_role("rowheader", name=text)))
    return rows


async def test_a_rollout_is_started_held_and_taken_back_by_keys_and_is_seen_to_move(place: Town, page: Page) -> None:
    await order_by_keys(
        page, f"Move to {NEW}… {SERVER}", "Start rollout", steps="20, 100", step_s="600", min_requests="1"
    )
    await page.evaluate(_MARK)
    rollout = page.locator("#rollouts article").first
    await expect(page.locator("#notice")).to_contain_text(f"The rollout of {SERVER} to {NEW} has begun.")
    await expect(rollout.locator(".state")).to_have_text("running")
    await expect(rollout.get_by_role("progressbar", name=f"Share of {NEW}")).to_have_attribute("value", "20")
    for order, state in (("Pause", "paused"), ("Resume", "running"), ("Roll back", "rolled back")):
        await order_by_keys(page, f"{order}… {SERVER}", order)
        await expect(rollout.locator(".state")).to_have_text(state)
    await expect(rollout.locator(".reason")).to_have_text("rolled back by an operator")
    told = (await place.admins[0].get("/v1/rollouts"))["rollouts"][0]
    assert (told["state"], told["weight"]) == ("rolled_back", 0)
    done = [entry for entry in place.admins[0].audited() if entry["outcome"] == "done"]
    assert [(entry["who"], entry["action"]) for entry in done][-4:] == [
        ("boss", "start_rollout"),
        ("boss", "pause_rollout"),
        ("boss", "resume_rollout"),
        ("boss", "roll_back_rollout"),
    ]


async def test_steps_weights_and_traffic_of_a_rollout_move_on_the_page_as_they_do_in_the_fleet(
    place: Town, page: Page
) -> None:
    rollout_id = await place.begin_rollout(steps=[20, 60, 100], step_s=8, min_requests=10, require_traffic=True)
    rollout = page.locator(f"#rollout-{rollout_id}")
    share = rollout.get_by_role("progressbar", name=f"Share of {NEW}")
    await expect(share).to_have_attribute("value", "20")
    await place.ask_at_once(100)
    await expect(rollout.get_by_role("table", name=f"Observed of {SERVER}")).to_contain_text("80")
    await expect(page.get_by_role("table", name=f"Traffic of {SERVER}")).to_contain_text(NEW)
    await expect(page.get_by_role("img", name=f"Requests a second of {SERVER}, by version")).to_be_visible()
    await expect(share).to_have_attribute("value", "60")
    await expect(rollout.locator(".state")).to_have_text("paused")  # nobody asks any more
    await expect(rollout.locator(".reason")).to_have_text("step 2 has seen 0 of 10 requests")
    await place.order(f"/v1/rollouts/{rollout_id}/rollback")
    await expect(rollout.locator(".state")).to_have_text("rolled back")
    assert await page.evaluate("window.isTheSamePage") is True


async def test_what_a_server_answered_is_flushed_by_keys_and_the_counts_are_true(place: Town, page: Page) -> None:
    entries = row(page, "cache", SERVER)
    await place.ask_at_once(3, tool="look_up")
    await expect(entries.get_by_role("cell", name="3", exact=True)).to_be_visible()
    await order_by_keys(page, f"Flush… {SERVER}", "Flush")
    await expect(page.locator("#notice")).to_contain_text("3 entries are gone. Acknowledged by 1 of 1.")
    await expect(entries.get_by_role("cell", name="0", exact=True)).to_be_visible()
    assert (await place.admins[0].get("/v1/cache"))["servers"][SERVER] == {"entries": 0}


async def test_a_tool_whose_name_means_something_in_paths_is_flushed_by_keys(place: Town, page: Page) -> None:
    assert (await place.ask(HOSTILE, TURNED)).status == 200
    await tab_to(page, page.get_by_role("link", name=f"Tools (2) of {HOSTILE}", exact=True))
    await page.keyboard.press("Enter")
    await tab_to(page, page.get_by_role("listitem").filter(has_text="look").get_by_role("link"))
    await page.keyboard.press("Enter")
    await tab_to(page, page.get_by_role("button", name="Flush", exact=True))
    await page.keyboard.press("Enter")
    await expect(page.locator("#notice")).to_contain_text("1 entries are gone.")
    assert (await place.admins[0].get("/v1/cache"))["servers"][HOSTILE] == {"entries": 0}


async def test_breakers_are_isolated_and_reset_by_keys(place: Town, page: Page) -> None:
    breaker = page.locator(f"[id='breaker-{SERVER}-{OLD}']")
    await order_by_keys(page, f"Isolate… {SERVER}", "Isolate", reason="too loud", for_s="120")
    await expect(breaker).to_contain_text("isolated")
    await expect(breaker).to_contain_text("too loud")
    assert (await place.ask()).json["code"] == "circuit_open"
    await order_by_keys(page, f"Reset… {SERVER}", "Reset", reason="quiet again")
    await expect(breaker).to_contain_text("closed")
    assert (await place.ask()).status == 200


async def test_a_worker_is_drained_by_keys_and_goes_from_the_page_by_itself(place: Town, page: Page) -> None:
    workers = (await place.admins[0].get("/v1/workers"))["workers"]
    leaving, staying = [worker["instance"] for worker in workers if worker["server"] == SPARE]
    shown = page.locator(f"#server-{SPARE}").get_by_role("table")
    await order_by_keys(page, f"Drain… worker {leaving}", "Drain worker")
    await expect(shown).not_to_contain_text(leaving)
    await expect(shown).to_contain_text(staying)
    assert (await place.ask(SPARE)).status == 200


async def test_a_server_is_taken_out_and_put_back_by_keys(place: Town, page: Page) -> None:
    status = page.locator(f"#server-{SPARE} .status")
    await order_by_keys(page, f"Take out… {SPARE}", "Take out", reason="new disk", for_min="30")
    await expect(status).to_contain_text("maintenance")
    assert (await place.ask(SPARE)).json["code"] == "maintenance"
    await order_by_keys(page, f"Put back… {SPARE}", "Put back")
    await expect(status).to_contain_text("connected")
    assert (await place.ask(SPARE)).status == 200


async def test_an_order_that_makes_no_sense_is_refused_beside_its_field_and_nothing_typed_is_lost(page: Page) -> None:
    await tab_to(page, page.get_by_role("link", name=f"Isolate… {SERVER}", exact=True))
    await page.keyboard.press("Enter")
    form = page.get_by_role("dialog")
    await form.locator("[name=reason]").fill("why not")
    await form.locator("[name=for_s]").evaluate("field => { field.type = 'text'; field.value = 'soon'; }")
    await form.get_by_role("button", name="Isolate").press("Enter")
    await expect(form.locator("#order-problem")).to_be_visible()
    await expect(form.locator("[name=for_s]")).to_have_attribute("aria-invalid", "true")
    await expect(form.locator("#for_s-error")).to_be_visible()
    await expect(form.locator("[name=reason]")).to_have_value("why not")
    await page.keyboard.press("Escape")
    await expect(form).to_be_hidden()


async def test_live_updates_take_neither_the_focus_nor_what_is_typed(place: Town, page: Page) -> None:
    entries = row(page, "cache", SERVER)
    flush = page.get_by_role("link", name=f"Flush… {SERVER}", exact=True)
    await flush.focus()
    await place.ask_at_once(2, tool="look_up")
    await expect(entries.get_by_role("cell", name="2", exact=True)).to_be_visible()
    await expect(flush).to_be_focused()

    await tab_to(page, page.get_by_role("link", name=f"Isolate… {SERVER}", exact=True), back=True)
    await page.keyboard.press("Enter")
    reason = page.get_by_role("dialog").locator("[name=reason]")
    await reason.focus()
    await page.keyboard.type("half a rea")
    await place.ask_at_once(1, tool="look_up")
    await expect(entries.locator("td", has_text="3")).to_be_attached()
    await expect(reason).to_be_focused()
    await page.keyboard.type("son")
    await expect(reason).to_have_value("half a reason")
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("link", name=f"Isolate… {SERVER}", exact=True)).to_be_focused()
