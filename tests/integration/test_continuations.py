"""A server may ask for whatever a continuation can carry, and that reaches the process that asked.

Only that one can open the state that it gave out.
"""

from typing import Any

import pytest

from tests.support.fleet import Answered, Fleet, fleet, python_server

pytestmark = pytest.mark.anyio

SERVERS = {
    "shop": python_server("tests.support.mcp_servers.stateful", alternates=["branch"]),
    "branch": python_server("tests.support.mcp_servers.stateful"),
}
ROUNDS = 6


async def ask(running: Fleet, **more: Any) -> dict[str, Any]:
    answered = await running.ask_http({"server": "shop", "tool": "buy"} | more)
    assert answered.status == 200, answered.body
    answer: dict[str, Any] = answered.json
    assert answer["result"]["resultType"] == "input_required"
    return answer


async def resume(running: Fleet, asked: dict[str, Any], *, orchestrator: int) -> Answered:
    query = {
        "server": "shop",
        "tool": "buy",
        "input_responses": {"sure": {"action": "accept", "content": {"sure": True}}},
        "request_state": asked["result"]["requestState"],
    }
    return await running.ask_http(query, orchestrator=orchestrator)


async def test_a_continuation_reaches_the_process_that_asked_over_any_orchestrator() -> None:
    async with fleet(SERVERS, orchestrators=2, workers={"shop": 3}) as running:
        for number in range(ROUNDS):
            asked = await ask(running)
            answered = await resume(running, asked, orchestrator=number % 2)
            assert answered.status == 200, answered.body
            assert (answered.json["instance"], answered.json["attempts"]) == (asked["instance"], 1)
            said = answered.json["result"]["content"][0]["text"]
            asker, buyer = said.removeprefix("asked by ").split(", bought from ")
            assert asker == buyer


ASKS = {
    "elicitation/create": ("book", {"name": "Ann"}, {"action": "accept", "content": {"row": 7}}, "row 7 for Ann"),
    "sampling/createMessage": (
        "write",
        {},
        {"role": "assistant", "model": "m1", "content": {"type": "text", "text": "hello"}},
        "m1 wrote hello",
    ),
    "roots/list": ("count_roots", {}, {"roots": [{"uri": "file:///one"}, {"uri": "file:///two"}]}, "2 roots"),
}


@pytest.mark.parametrize("method", ASKS)
@pytest.mark.parametrize("edge", ["http", "bus"])
async def test_a_tool_for_which_the_sdk_asks_the_caller_gets_what_it_wants(edge: str, method: str) -> None:
    tool, arguments, response, said = ASKS[method]
    query = {"server": "shop", "tool": tool, "arguments": arguments}
    async with fleet({"shop": SERVERS["branch"]}, workers={"shop": 2}) as running:
        asked = await running.asking(edge)(query)
        assert asked.status == 200, asked.body
        result = asked.json["result"]
        assert result["resultType"] == "input_required"
        ((key, request),) = result["inputRequests"].items()
        assert request["method"] == method
        given = {"input_responses": {key: response}, "request_state": result["requestState"]}
        answered = await running.asking(edge)(query | given)
        assert answered.status == 200, answered.body
        assert answered.json["result"]["resultType"] == "complete"
        assert answered.json["result"]["content"][0]["text"] == said


async def test_a_continuation_reaches_the_alternate_that_asked() -> None:
    async with fleet(SERVERS, workers={"branch": 2}) as running:
        asked = await ask(running)
        await running.start_worker("shop")
        await running.wait_connected()
        answered = await resume(running, asked, orchestrator=0)
        assert answered.status == 200, answered.body
        assert (answered.json["server"], answered.json["instance"]) == ("branch", asked["instance"])


async def test_a_state_that_nobody_holds_any_more_is_for_the_server_to_judge() -> None:
    async with fleet(SERVERS, workers={"shop": 3}) as running:
        asked = await ask(running)
        for worker in list(running.workers):
            await worker.process.kill()
            running.workers.remove(worker)
        await running.wait_connected()
        for _ in range(2):
            await running.start_worker("shop")
        await running.wait_connected()
        answered = await resume(running, asked, orchestrator=0)
        assert (answered.status, answered.json["code"]) == (502, "upstream_refused")
        assert answered.json["mcp_error"]["code"] == -32602
