"""Live updates: server-sent events, one for each panel that has changed since this page was last told of it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

from fastapi import Request

from services.admin.access import Access
from services.admin.console.console import Console

_LOOK_EVERY_S: Final = 1.0
_QUIET_S: Final = 10
"""Looks without news after which a sign of life is sent, so that no proxy thinks the connection dead."""
_RETRY_MS: Final = 1000


async def panels_as_they_change(request: Request, access: Access, console: Console) -> AsyncIterator[str]:
    """Yield events until the process stops, or whoever asks is not logged in any more."""
    shown: dict[str, str] = {}
    quiet = 0
    yield f"retry: {_RETRY_MS}\n\n"
    while not console.life.stopping.is_set():
        if await access.logged_in(request) is None:
            yield "event: over\ndata:\n\n"
            return
        panels = await console.board.panels()
        news = {name: html for name, html in panels.items() if shown.get(name) != html}
        for name, html in news.items():
            yield f"event: panel\ndata: {json.dumps({'name': name, 'html': html})}\n\n"
        shown.update(news)
        quiet = 0 if news else quiet + 1
        if quiet % _QUIET_S == _QUIET_S - 1:
            yield ": still here\n\n"
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_EVERY_S):
                await console.life.stopping.wait()
