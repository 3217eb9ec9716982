"""How much is worked on at once, and how long an answer counts."""

import asyncio
from contextlib import ExitStack
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from starlette.types import Message

from services.orchestrator.admission import Admission
from services.orchestrator.flow_metrics import FlowMetrics
from services.orchestrator.writing import HeldResponse
from services.runtime.config.policy import ServerPolicy
from services.runtime.errors import OverloadedError
from services.runtime.metrics import new_registry
from tests.unit.test_orchestrator_query import _TOOL, Gateway

pytestmark = pytest.mark.anyio


def admission(*, queries: int = 4, held_bytes: int = 100) -> Admission:
    return Admission(most_in_flight=queries, most_held_bytes=held_bytes, metrics=FlowMetrics(new_registry()))


def test_queries_beyond_the_bound_are_refused_until_one_has_gone() -> None:
    admitted = admission(queries=2)
    with admitted.query():
        with admitted.query(), pytest.raises(OverloadedError), admitted.query():
            pass
        with admitted.query():
            assert admitted.in_flight == 2
    assert admitted.in_flight == 0


def test_one_server_may_have_half_of_them_and_at_least_one() -> None:
    admitted = admission(queries=4)
    with admitted.at("slow"), admitted.at("slow"):
        with pytest.raises(OverloadedError), admitted.at("slow"):
            pass
        with admitted.at("quick"):
            pass
    with admitted.at("slow"):
        pass
    with admission(queries=1).at("only"):
        pass


def test_while_too_much_is_held_nobody_is_let_in_and_who_is_in_goes_on() -> None:
    admitted = admission(held_bytes=100)
    with admitted.query(), admitted.holding() as hold:
        hold.add(99)
        admitted.check()
        hold.add(1)
        with pytest.raises(OverloadedError):
            admitted.check()
        hold.add(1000)
    admitted.check()
    assert admitted.held_bytes == 0


def test_what_is_in_flight_and_held_is_shown() -> None:
    registry = new_registry()
    admitted = Admission(most_in_flight=4, most_held_bytes=100, metrics=FlowMetrics(registry))
    with ExitStack() as stack:
        stack.enter_context(admitted.query())
        stack.enter_context(admitted.at("a"))
        stack.enter_context(admitted.holding()).add(7)
        assert registry.get_sample_value("mcp_queries_in_flight") == 1
        assert registry.get_sample_value("mcp_server_queries_in_flight", {"server": "a"}) == 1
        assert registry.get_sample_value("mcp_held_bytes") == 7
    assert registry.get_sample_value("mcp_server_queries_in_flight", {"server": "a"}) == 0


class SlowCaller:
    """An HTTP server's `send`: from its second message on it waits until the caller reads."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.reads = asyncio.Event()

    async def send(self, message: Message) -> None:
        if len(self.messages) > 1:
            await self.reads.wait()
        self.messages.append(message)

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages)


@pytest.mark.parametrize("size", [0, 1, 65536, 65537, 131072, 1_000_000])
async def test_an_answer_is_whole_and_has_one_end(size: int) -> None:
    caller = SlowCaller()
    caller.reads.set()
    body = bytes(range(256)) * (size // 256 + 1)
    response = HeldResponse(body[:size], 200, {"x-a": "b"}, admission(held_bytes=10))
    await response({"type": "http"}, _never, caller.send)
    start, *parts = caller.messages
    assert (start["status"], dict(start["headers"])[b"content-length"]) == (200, str(size).encode())
    assert caller.body == body[:size]
    assert [part["more_body"] for part in parts] == [True] * (len(parts) - 1) + [False]


async def test_an_answer_counts_until_its_caller_has_taken_it() -> None:
    caller, admitted = SlowCaller(), admission(held_bytes=10)
    response = HeldResponse(b"x" * 200_000, 200, {}, admitted)
    writing = asyncio.create_task(response({"type": "http"}, _never, caller.send))
    with anyio.fail_after(5):
        while len(caller.messages) < 2:
            await anyio.lowlevel.checkpoint()
        assert admitted.held_bytes == 200_000
        caller.reads.set()
        await writing
    assert admitted.held_bytes == 0


async def test_an_answer_whose_caller_has_gone_counts_no_more() -> None:
    caller, admitted = SlowCaller(), admission()
    response = HeldResponse(b"x" * 200_000, 200, {}, admitted)
    writing = asyncio.create_task(response({"type": "http"}, _never, caller.send))
    with anyio.fail_after(5):
        while len(caller.messages) < 2:
            await anyio.lowlevel.checkpoint()
        writing.cancel()
        await asyncio.wait([writing])
    assert admitted.held_bytes == 0


async def test_a_server_that_has_its_share_leaves_the_query_to_its_alternate() -> None:
    gateway = Gateway(a=ServerPolicy(alternates=("b",)), b=ServerPolicy())
    for server in "ab":
        await gateway.announced.join(server, tools=[_TOOL])
    with ExitStack() as stack:
        for _ in range(50):
            stack.enter_context(gateway.admission.at("a"))
        assert (await gateway.ask(server="a", tool="t")).status == 200
        assert gateway.workers.asked == [("b", "1.0.0")]
        for _ in range(50):
            stack.enter_context(gateway.admission.at("b"))
        refused = await gateway.ask(server="a", tool="t")
    assert (refused.status, refused.headers["retry-after"]) == (503, "1")


async def _never() -> Any:
    await asyncio.Event().wait()
