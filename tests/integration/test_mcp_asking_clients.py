"""What a server wants to know of a client of the handshake era is asked of it; it may answer over any replica."""

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.client.context import ClientRequestContext
from mcp_types import (
    CreateMessageRequestParams,
    CreateMessageResult,
    ElicitRequestParams,
    ElicitResult,
    ListRootsResult,
    Root,
    TextContent,
)

from tests.support.fleet import Fleet, fleet, python_server
from tests.support.mcp_wire import LegacyClient
from tests.support.ports import free_port

pytestmark = pytest.mark.anyio

STATEFUL = "tests.support.mcp_servers.stateful"
SDK = "tests.support.mcp_servers.sdk_server"
CAN_ELICIT: dict[str, Any] = {"elicitation": {"form": {}}}


@pytest.fixture(scope="module")
async def running() -> AsyncIterator[Fleet]:
    port = free_port()
    config = {
        "shop": python_server(STATEFUL, era="modern"),
        "sdk": python_server(SDK, era="modern"),
        "old": python_server(STATEFUL, era="legacy", session="caller"),
        "old-http": python_server(
            STATEFUL, "--port", str(port), url=f"http://127.0.0.1:{port}/mcp", era="legacy", session="caller"
        ),
    }
    async with fleet(config, orchestrators=2, workers={"shop": 2, "sdk": 1, "old": 1, "old-http": 1}) as running:
        yield running


def wire(running: Fleet) -> LegacyClient:
    return LegacyClient([one.http for one in running.orchestrators])


async def elicit(context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
    return ElicitResult(action="accept", content={"row": 7})


async def sample(context: ClientRequestContext, params: CreateMessageRequestParams) -> CreateMessageResult:
    return CreateMessageResult(role="assistant", model="m1", content=TextContent(text="hello"))


async def list_roots(context: ClientRequestContext) -> ListRootsResult:
    return ListRootsResult(roots=[Root(uri="file:///one"), Root(uri="file:///two")])


@pytest.mark.parametrize("mode", ["legacy", "auto"])
@pytest.mark.parametrize(
    ("tool", "arguments", "said"),
    [("book", {"name": "Ann"}, "row 7 for Ann"), ("write", {}, "m1 wrote hello"), ("count_roots", {}, "2 roots")],
)
async def test_an_sdk_client_is_asked_through_its_callbacks(
    running: Fleet, mode: str, tool: str, arguments: dict[str, Any], said: str
) -> None:
    with anyio.fail_after(60):
        async with Client(
            running.urls[0] + "/mcp",
            mode=mode,
            elicitation_callback=elicit,
            sampling_callback=sample,
            list_roots_callback=list_roots,
        ) as client:
            result = await client.call_tool(f"shop__{tool}", arguments)
            assert isinstance(result.content[0], TextContent)
            assert result.content[0].text == said


async def test_the_answer_may_come_over_another_orchestrator_and_reaches_the_worker_that_asked(running: Fleet) -> None:
    client = wire(running)
    await client.shake_hands(CAN_ELICIT)
    for number in range(4):
        asker, other = number % 2, (number + 1) % 2
        call = client.request("tools/call", {"name": "shop__buy", "arguments": {}})
        with anyio.fail_after(60):
            async with client.asking(call, orchestrator=asker) as messages:
                asked = await anext(messages)
                assert (asked["method"], asked["params"]["message"]) == ("elicitation/create", "sure?")
                answer = {"action": "accept", "content": {"sure": True}}
                posted = {"jsonrpc": "2.0", "id": asked["id"], "result": answer}
                assert (await client.post(posted, orchestrator=other)).status_code == 202
                told = await anext(messages)
        assert told["id"] == call["id"]
        asker_pid, buyer_pid = told["result"]["content"][0]["text"].removeprefix("asked by ").split(", bought from ")
        assert asker_pid == buyer_pid


@pytest.mark.parametrize("server", ["old", "old-http"])
async def test_a_server_of_the_handshake_era_asks_the_client_whose_session_it_is(running: Fleet, server: str) -> None:
    client = wire(running)
    await client.shake_hands(CAN_ELICIT)
    for asker, other in ((0, 1), (1, 0)):
        call = client.request("tools/call", {"name": f"{server}__reserve", "arguments": {}})
        with anyio.fail_after(60):
            async with client.asking(call, orchestrator=asker) as messages:
                asked = await anext(messages)
                assert (asked["method"], asked["params"]["message"]) == ("elicitation/create", "Which row?")
                answer = {"action": "accept", "content": {"row": 7}}
                await client.post({"jsonrpc": "2.0", "id": asked["id"], "result": answer}, orchestrator=other)
                told = await anext(messages)
        assert told["result"]["content"][0]["text"] == "accept: {'row': 7}"


async def test_a_client_that_cannot_answer_is_not_asked(running: Fleet) -> None:
    client = wire(running)
    await client.shake_hands()
    told = await client.ask("tools/call", {"name": "shop__book", "arguments": {"name": "Ann"}})
    assert "error" in told or told["result"]["isError"], told


async def test_a_client_that_answers_with_an_error_is_told_that_its_call_failed(running: Fleet) -> None:
    client = wire(running)
    await client.shake_hands(CAN_ELICIT)
    call = client.request("tools/call", {"name": "shop__buy", "arguments": {}})
    with anyio.fail_after(60):
        async with client.asking(call) as messages:
            asked = await anext(messages)
            await client.post({"jsonrpc": "2.0", "id": asked["id"], "error": {"code": -1, "message": "no"}})
            told = await anext(messages)
    assert told["error"]["code"] == -32603


async def test_another_caller_cannot_answer_in_its_place() -> None:
    async with fleet({"shop": python_server(STATEFUL, era="modern")}, keys={"a": {}, "b": {}}) as running:
        clients = [one.http for one in running.orchestrators]
        asked_one = LegacyClient(clients, key=running.keys["a"])
        other = LegacyClient(clients, key=running.keys["b"])
        await asked_one.shake_hands(CAN_ELICIT)
        await other.shake_hands(CAN_ELICIT)
        call = asked_one.request("tools/call", {"name": "shop__buy", "arguments": {}})
        with anyio.fail_after(60):
            async with asked_one.asking(call) as messages:
                asked = await anext(messages)
                for client, action in ((other, "decline"), (asked_one, "accept")):
                    await client.post({"jsonrpc": "2.0", "id": asked["id"], "result": {"action": action}})
                told = await anext(messages)
        assert "bought from" in told["result"]["content"][0]["text"]


@pytest.mark.parametrize("orchestrator", [0, 1])
async def test_a_cancelled_request_ends_also_when_that_is_said_to_another_orchestrator(
    running: Fleet, orchestrator: int
) -> None:
    client = wire(running)
    await client.shake_hands()
    meta = {"_meta": {"progressToken": "steps"}}
    call = client.request("tools/call", {"name": "sdk__climb", "arguments": {"to": 2}, **meta})
    with anyio.fail_after(60):
        async with client.asking(call, orchestrator=0) as messages:
            step = await anext(messages)
            assert step["params"] == {"progressToken": "steps", "progress": 1, "total": 2, "message": "step 1"}
            cancelled = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": call["id"]}}
            assert (await client.post(cancelled, orchestrator=orchestrator)).status_code == 202
            told = await anext(messages)
    assert (told["id"], told["error"]["message"]) == (call["id"], "Request cancelled")
