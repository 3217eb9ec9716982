"""The pictures of the console in docs/img: `python -m tests.console.screenshots`, of a real fleet with some traffic."""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import anyio
from playwright.async_api import Browser, expect

from tests.console.chromium import NARROW, WIDE, chromium, visiting
from tests.console.keyboard import log_in_by_keys
from tests.console.mcp_server import offering, tool
from tests.support.admin import BOSS, Admin, admins
from tests.support.fleet import Fleet, fleet
from tests.support.processes import REPOSITORY
from tests.support.servers import valkey_server

FOLDER: Final = REPOSITORY / "docs" / "img"
LOOKS: Final = {"console-light": (WIDE, False), "console-dark": (WIDE, True), "console-narrow": (NARROW, False)}
"""Width, and whether it is dark, by the picture's name."""
_PRODUCTS: Final = "product_metadata_mcp"
_DATABASE: Final = "database_mcp"
_PAUSE_S: Final = 0.02
_BEFORE_S: Final = 20.0
"""How long there is traffic before the rollout."""
_AFTER_S: Final = 50.0
"""How long the rollout has gone on then."""


@asynccontextmanager
async def town() -> AsyncIterator[tuple[Fleet, Admin]]:
    """Two servers that are asked, one of them in two versions, one that is taken out, and one that is not there."""
    async with (
        offering(tool("resolve_product", "Finds a product by any of its names."), tool("list_aliases")) as products,
        offering(tool("query", "Runs one SELECT."), tool("list_tables", "Names the tables.")) as database,
        valkey_server() as store,
        fleet(
            {
                _PRODUCTS: {
                    "url": products,
                    "version": "1.0.0",
                    "tools": {"list_aliases": {"cache_ttl_s": 300, "cache_scope": "public"}},
                },
                _DATABASE: {"url": database, "version": "2.3.1"},
                "search_mcp": {"url": database},
                "archive_mcp": {"url": "http://127.0.0.1:1/mcp"},
            },
            orchestrators=2,
            workers={_PRODUCTS: 2, _DATABASE: 2, "search_mcp": 1},
            keys=BOSS,
            store=store,
        ) as running,
    ):
        await running.start_worker(_PRODUCTS, version="1.1.0")
        async with admins(running) as (desk,):
            yield running, desk


async def ask(running: Fleet) -> None:
    """Ask both servers, and the cache, for ever."""
    for number in itertools.count():
        server, name = (_DATABASE, "query") if number % 3 == 0 else (_PRODUCTS, "resolve_product")
        if number % 10 == 0:
            server, name = _PRODUCTS, "list_aliases"
        query = {"server": server, "tool": name, "arguments": {"id": number % 40}, "timeout_ms": 10_000}
        await running.ask_http(query, orchestrator=number % 2)
        await anyio.sleep(_PAUSE_S)


async def steer(desk: Admin) -> None:
    """Do what an operator does on an ordinary day."""
    orders = {
        "/v1/servers/search_mcp/maintenance": {"reason": "moves to a larger disk"},
        "/v1/breakers/archive_mcp/isolate": {"reason": "its host is rebuilt", "for_s": 3600},
        "/v1/rollouts": {"server": _PRODUCTS, "to_version": "1.1.0", "steps": [10, 50, 100], "step_s": 40},
    }
    for path, body in orders.items():
        answer = await desk.http.post(path, json=body)
        assert answer.is_success, answer.text


async def take(browser: Browser, desk: Admin, key: str) -> None:
    """Take every picture."""
    for name, (width, is_dark) in LOOKS.items():
        async with visiting(browser, desk.url, width=width, is_dark=is_dark) as visit:
            await log_in_by_keys(visit.page, key)
            await expect(visit.page.get_by_role("table", name=f"Traffic of {_PRODUCTS}")).to_contain_text("1.1.0")
            await visit.page.evaluate("scrollTo(0, 0); document.activeElement.blur()")
            await visit.page.screenshot(path=FOLDER / f"{name}.png", full_page=True)


async def main() -> None:
    async with chromium() as browser, town() as (running, desk), anyio.create_task_group() as tasks:
        tasks.start_soon(ask, running)
        await anyio.sleep(_BEFORE_S)
        await steer(desk)
        await anyio.sleep(_AFTER_S)
        await take(browser, desk, running.keys["boss"])
        tasks.cancel_scope.cancel()


if __name__ == "__main__":
    anyio.run(main)
