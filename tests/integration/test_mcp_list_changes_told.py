"""A client hears that the lists have changed, in both eras, over any orchestrator, whoever made them change."""

from collections.abc import AsyncIterator

import anyio
import pytest
from mcp import Client
from mcp.client.subscriptions import ToolsListChanged
from mcp_types import ToolListChangedNotification

from tests.support.fleet import Fleet, fleet, python_server

pytestmark = pytest.mark.anyio

CHANGING = "tests.support.mcp_servers.changing"


@pytest.fixture(scope="module")
async def running() -> AsyncIterator[Fleet]:
    async with fleet({"changing": python_server(CHANGING, era="modern")}, orchestrators=2) as running:
        yield running


async def learn(running: Fleet, name: str) -> None:
    learnt = await running.ask_http({"server": "changing", "tool": "learn", "arguments": {"names": [name]}})
    assert learnt.status == 200, learnt.body


@pytest.mark.parametrize("orchestrator", [0, 1])
async def test_a_modern_client_hears_it_on_its_subscription(running: Fleet, orchestrator: int) -> None:
    name = f"modern_{orchestrator}"
    with anyio.fail_after(60):
        async with Client(running.urls[orchestrator] + "/mcp") as client:
            async with client.listen(tools_list_changed=True, resource_subscriptions=["nothing://"]) as heard:
                assert heard.honored.tools_list_changed
                assert not heard.honored.resource_subscriptions
                await learn(running, name)
                assert await anext(aiter(heard)) == ToolsListChanged()
                assert f"changing__{name}" in {tool.name for tool in (await client.list_tools()).tools}


@pytest.mark.parametrize("orchestrator", [0, 1])
async def test_a_legacy_client_hears_it_on_its_own_stream(running: Fleet, orchestrator: int) -> None:
    heard = anyio.Event()

    async def take(message: object) -> None:
        if isinstance(message, ToolListChangedNotification):
            heard.set()

    url = running.urls[orchestrator] + "/servers/changing/mcp"
    with anyio.fail_after(60):
        async with Client(url, mode="legacy", message_handler=take):
            number = 0
            while not heard.is_set():  # the client opens its stream when it likes
                number += 1
                await learn(running, f"legacy_{orchestrator}_{number}")
                with anyio.move_on_after(1):
                    await heard.wait()
