"""Clients that nobody here wrote use legacy and modern servers as one, over two orchestrators, with two servers ill."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any, get_args

import pytest

from tests.clients.tour import VERSIONS, Era, Tour
from tests.clients.travellers import TRAVELLERS
from tests.strangers.strangers import INSTALLED, NODE
from tests.support.fleet import Fleet, fleet
from tests.support.ports import free_port
from tests.support.processes import RunningProcess, python_process, wait_listening
from tests.support.round_robin import RoundRobin, round_robin

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not (NODE / ".installed").exists(), reason="the clients are not installed by `make strangers`"),
]

EVERYTHING = NODE / "node_modules/@modelcontextprotocol/server-everything/dist/index.js"
TIME = INSTALLED / "python" / "bin" / "mcp-server-time"
DOCUMENT = "demo://resource/static/document/architecture.md"

START_S = 90.0

TOUR = Tour(
    url="",
    era="modern",
    calls={
        "legacy__echo": {"message": "over the busbar"},
        "modern__test_simple_text": {},
        "time__convert_time": {"source_timezone": "Asia/Tokyo", "time": "12:00", "target_timezone": "Asia/Kolkata"},
    },
    reads=[DOCUMENT, "test://static-text"],
    prompts={
        "legacy__args-prompt": {"city": "Oslo"},
        "modern__test_prompt_with_arguments": {"arg1": "one", "arg2": "two"},
    },
    failing=["dead__process_id", "hanging__process_id"],
)


@dataclass(frozen=True)
class World:
    """What the clients meet."""

    busbar: Fleet
    balancer: RoundRobin


@pytest.fixture(scope="module")
async def world() -> AsyncIterator[World]:
    """Servers of both eras over both transports behind two orchestrators; then one server dies and one hangs."""
    async with AsyncExitStack() as stack:
        modern_url, _ = await _listening(stack, "tests.conformance.fixture")
        dead_url, dead = await _listening(stack, "tests.support.mcp_servers.sdk_server")
        hanging_url, hanging = await _listening(stack, "tests.support.mcp_servers.sdk_server")
        servers: Mapping[str, Mapping[str, Any]] = {
            "legacy": {"command": ["node", str(EVERYTHING), "stdio"]},
            "modern": {"url": modern_url},
            "time": {"command": [str(TIME), "--local-timezone", "UTC"]},
            "dead": {"url": dead_url},
            "hanging": {"url": hanging_url, "timeout_s": 1},
        }
        busbar = await stack.enter_async_context(fleet(servers, orchestrators=2, workers={}))
        for name in servers:
            await busbar.start_worker(name)
        await busbar.wait_connected(timeout_s=START_S)
        await dead.kill()
        hanging.pause()
        balancer = await stack.enter_async_context(round_robin(busbar.urls))
        yield World(busbar, balancer)


@pytest.mark.parametrize("era", get_args(Era))
@pytest.mark.parametrize("client", TRAVELLERS)
async def test_a_client_uses_the_fleet_as_one_server_whichever_orchestrator_each_request_meets(
    world: World, client: str, era: Era
) -> None:
    before = world.balancer.requests.copy()
    seen = await TRAVELLERS[client](replace(TOUR, url=f"{world.balancer.url}/mcp", era=era))

    assert seen.version == VERSIONS[era]
    assert seen.failed == TOUR.failing
    assert {"legacy__get-sum", "modern__test_simple_text", "time__get_current_time"} <= {*seen.tools}
    assert {DOCUMENT, "test://static-text", "test://static-binary"} <= {*seen.resources}
    assert {"legacy__simple-prompt", "modern__test_simple_prompt"} <= {*seen.prompts}
    assert seen.called["legacy__echo"] == "Echo: over the busbar"
    assert seen.called["modern__test_simple_text"] == "This is a simple text response for testing."
    assert "T08:30:00+05:30" in seen.called["time__convert_time"]
    assert "Architecture" in seen.read[DOCUMENT]
    assert seen.read["test://static-text"] == "This is the content of the static text resource."
    assert "Oslo" in seen.filled_in["legacy__args-prompt"]
    assert seen.filled_in["modern__test_prompt_with_arguments"] == "Prompt with arguments: arg1='one', arg2='two'"

    asked = world.balancer.requests - before
    assert {*asked} == {*world.busbar.urls}
    assert max(asked.values()) - min(asked.values()) <= 1


async def _listening(stack: AsyncExitStack, module: str) -> tuple[str, RunningProcess]:
    port = free_port()
    process = await stack.enter_async_context(python_process(module, "--port", str(port)))
    await wait_listening(process, port)
    return f"http://127.0.0.1:{port}/mcp", process
