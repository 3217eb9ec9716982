"""A small Busbar behind a console: two versions of a server, one whose every text is markup, and two admin services."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import anyio

from services.runtime.auth.keys import revoke_key
from tests.console.mcp_server import offering, tool
from tests.support.admin import BOSS, Admin, admins
from tests.support.fleet import Answered, Fleet, fleet
from tests.support.servers import valkey_server

SERVER: Final = "files"
OLD: Final = "1.0.0"
NEW: Final = "1.1.0"
SPARE: Final = "spare"
"""It has two workers, so that one may leave."""
HOSTILE: Final = "hostile"
BOSS_KEY: Final = "boss"
GUEST_KEY: Final = "guest"
"""Of another admin, whose key a test withdraws."""

MARKUP: Final = '<img src=x onerror="alert(1)"></script></li></template><script>alert(2)</script>\'"&amp;{{7*7}}'
TURNED: Final = "look\u202e up?/ü%20<b>"
"""Turns what stands after it from right to left, where it is let; and means something in paths, and in markup."""
_CACHED: Final = {"cache_ttl_s": 300, "cache_scope": "public"}


@dataclass(frozen=True, slots=True)
class Town:
    """What runs."""

    fleet: Fleet
    admins: list[Admin]

    @property
    def url(self) -> str:
        """Of the first admin service, whose console is looked at."""
        return self.admins[0].url

    @property
    def key(self) -> str:
        """An admin's."""
        return self.fleet.keys[BOSS_KEY]

    async def ask(self, server: str = SERVER, tool: str = "record", **arguments: Any) -> Answered:
        """Ask a query."""
        return await self.fleet.ask_http({"server": server, "tool": tool, "arguments": arguments, "timeout_ms": 10_000})

    async def ask_at_once(self, count: int, *, tool: str = "record") -> None:
        """Ask so many queries of `SERVER` that differ, and see all of them answered."""
        answers: list[Answered] = []

        async def ask() -> None:
            answers.append(await self.ask(tool=tool, id=uuid.uuid4().hex))

        async with anyio.create_task_group() as tasks:
            for _ in range(count):
                tasks.start_soon(ask)
        assert {answer.status for answer in answers} == {200}

    async def begin_rollout(self, **order: Any) -> str:
        """Let `SERVER` move to `NEW`; return the rollout's id."""
        wanted = {"server": SERVER, "to_version": NEW, "max_p95_ratio": 1000, **order}
        answer = await self.admins[0].http.post("/v1/rollouts", json=wanted)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    async def order(self, path: str, **body: Any) -> None:
        """Order something of the admin service that must obey."""
        answer = await self.admins[0].http.post(path, json=body or None)
        assert answer.is_success, answer.text

    def withdraw_key(self, key_id: str) -> None:
        """Take a key out of the keys file."""
        revoke_key(self.fleet.folder / "keys.jsonl", key_id)


@asynccontextmanager
async def town() -> AsyncIterator[Town]:
    """Run it; entered when both versions, and everything else, serve."""
    async with (
        offering(tool("record"), tool("look_up", "Looks something up.")) as plain,
        offering(tool(MARKUP, MARKUP), tool(TURNED, TURNED), name=MARKUP, version=MARKUP) as hostile,
        valkey_server() as store,
        fleet(
            {
                SERVER: {"url": plain, "version": OLD, "tools": {"look_up": _CACHED}},
                SPARE: {"url": plain},
                HOSTILE: {"url": hostile, "tools": {MARKUP: _CACHED, TURNED: _CACHED}},
            },
            workers={SERVER: 1, SPARE: 2, HOSTILE: 1},
            keys={**BOSS, GUEST_KEY: {"scopes": ["admin"]}},
            store=store,
        ) as running,
    ):
        await running.start_worker(SERVER, version=NEW)  # later than the old version, which has the queries then
        async with admins(running, 2) as desks:
            await running.wait_connected()
            yield Town(running, desks)
