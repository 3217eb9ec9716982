"""A continuation reaches the process that asked: only that one can open the state that it gave out."""

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
