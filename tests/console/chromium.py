"""Headless Chromium, the system's own: it is driven by Playwright, and reaches nothing but this machine."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import pytest
from playwright.async_api import Browser, ConsoleMessage, Dialog, Page, Request, async_playwright, expect

WIDE: Final = 1280
NARROW: Final = 400
"""In CSS pixels: what WCAG 2.2 asks of reflow is 320, what SPEC asks of the console is 400."""

_TIMEOUT_MS: Final = 30_000
"""For whatever a page has to come to; a busy machine takes its time."""
_ARGUMENTS: Final = (
    # Whatever a page or the browser itself asks for elsewhere stays unasked.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    # Of a headless screen there is none to draw to with a GPU; it only looks for one.
    "--disable-gpu",
)


@dataclass(frozen=True, slots=True)
class Visit:
    """A page, and what it has done since it was opened."""

    page: Page
    requests: list[Request] = field(default_factory=list)
    """Everything that it asked for, from anywhere."""
    complaints: list[str] = field(default_factory=list)
    """The browser's warnings and errors, violations of the policy of the page's contents among them; dialogs, too."""


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Run a browser; a test is skipped where there is none."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not installed")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=list(_ARGUMENTS))
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def visiting(
    browser: Browser, url: str, *, width: int = WIDE, is_dark: bool = False, scripts: bool = True
) -> AsyncIterator[Visit]:
    """Open `url` as somebody who was never here: without a cookie, without anything stored.

    Args:
        browser: from `chromium()`.
        url: the origin; paths are relative to it.
        width: of the window, in CSS pixels.
        is_dark: whether the visitor's system is.
        scripts: whether scripts run.
    """
    context = await browser.new_context(
        base_url=url,
        viewport={"width": width, "height": 900},
        color_scheme="dark" if is_dark else "light",
        java_script_enabled=scripts,
        reduced_motion="reduce",
    )
    try:
        context.set_default_timeout(_TIMEOUT_MS)
        expect.set_options(timeout=_TIMEOUT_MS)
        page = await context.new_page()
        visit = Visit(page)
        _record(visit)
        await page.goto("/")
        yield visit
    finally:
        await context.close()


def _record(visit: Visit) -> None:
    async def refuse(dialog: Dialog) -> None:
        visit.complaints.append(f"dialog: {dialog.message}")
        await dialog.dismiss()

    def hear(message: ConsoleMessage) -> None:
        # An order that is refused is told on the page; the browser tells its developers of the status, too.
        if message.type in {"error", "warning"} and "status of 422" not in message.text:
            visit.complaints.append(f"{message.type}: {message.text}")

    def note(request: Request) -> None:  # Playwright takes no method of a list
        visit.requests.append(request)

    visit.page.context.on("request", note)
    visit.page.on("console", hear)
    visit.page.on("pageerror", lambda error: visit.complaints.append(f"exception: {error}"))
    visit.page.on("dialog", refuse)
