"""`session: caller`: the sessions of all callers share what the worker has of the server: token, process, era."""

from typing import Any

import anyio
import psutil
import pytest

from tests.support.fleet import Fleet, fleet, python_server
from tests.support.mcp_servers.protected import CLIENT_ID, CLIENT_SECRET, SCOPE, protected_server
from tests.support.ports import free_port
from tests.support.processes import descendants

pytestmark = pytest.mark.anyio

CALLERS: dict[str, dict[str, Any]] = {f"caller-{number}": {} for number in range(20)}


async def all_ask(running: Fleet) -> None:
    """Let every caller ask, all at once."""

    async def ask(caller: str) -> None:
        answer = await running.ask_http({"server": "protected", "tool": "headers"}, key=caller)
        assert answer.status == 200, answer.body

    async with anyio.create_task_group() as asking:
        for caller in CALLERS:
            asking.start_soon(ask, caller)


async def test_the_sessions_of_all_callers_share_the_workers_token_and_renew_it_once() -> None:
    """Seen to fail with a token source of their own for the callers' sessions: two tokens were fetched."""
    async with protected_server() as server:
        oauth = {
            "token_url": server.token_url,
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "scope": SCOPE,
        }
        config = {"protected": {"url": server.url, "oauth": oauth, "session": "caller"}}
        async with fleet(config, keys=CALLERS) as running:
            await all_ask(running)
            assert len(server.endpoint.requests) == 1
            server.endpoint.revoke()
            await all_ask(running)
            assert len(server.endpoint.requests) == 2
            assert len(server.mcp.calls) == 2 * len(CALLERS)


async def test_a_server_that_is_started_and_reached_at_its_url_is_started_once_for_all_callers() -> None:
    """Seen to fail with sessions of callers that start the process too."""
    module, port = "tests.support.mcp_servers.stateful", free_port()
    reached = {"url": f"http://127.0.0.1:{port}/mcp", "era": "legacy", "session": "caller"}
    config = {"stateful": python_server(module, "--port", str(port), **reached)}
    async with fleet(config, keys=CALLERS) as running:
        for caller in list(CALLERS)[:3]:
            answer = await running.ask_http({"server": "stateful", "tool": "count"}, key=caller)
            assert answer.json["result"]["structuredContent"]["count"] == 1
        commands = [psutil.Process(pid).cmdline() for pid in descendants(running.workers[0].process.pid)]
        # Its guard names it too.
        assert sum(command[1:3] == ["-m", module] for command in commands) == 1


async def test_what_the_worker_has_found_out_about_a_silent_server_no_caller_waits_for_again() -> None:
    """Seen to fail with an opener of their own: each first call waited ten seconds for an answer to the probe."""
    config = {"old": python_server("tests.support.mcp_servers.raw_stdio", "--silent-on-discover", session="caller")}
    async with fleet(config, keys=CALLERS) as running:
        answer = await running.ask_http({"server": "old", "tool": "odd", "timeout_ms": 8000}, key="caller-1")
        assert answer.status == 200, answer.body
