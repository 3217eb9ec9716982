"""One town and one browser for each module of tests: both take their time to start."""

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser

from tests.console.chromium import chromium
from tests.console.town import Town, town


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as running:
        yield running


@pytest.fixture(scope="module")
async def place(browser: Browser) -> AsyncIterator[Town]:
    # After the browser: where there is none, nothing is started.
    async with town() as running:
        yield running
