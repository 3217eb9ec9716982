"""Replies that go on: JSON where nothing is said before the result, events where something is, and an end for all."""

import asyncio
import gc
import json
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
from starlette.types import Message

from services.orchestrator.admission import Admission
from services.orchestrator.catalogue import CatalogueView
from services.orchestrator.flow_metrics import FlowMetrics
from services.orchestrator.mcp import conversation, subscriptions
from services.orchestrator.mcp.changes import LIST_KINDS, ListChanges
from services.orchestrator.mcp.conversation import Answered, Conversation, Say
from services.orchestrator.mcp.jsonrpc import RpcRequest, read_message
from services.orchestrator.mcp.subscriptions import ChangeStream, subscription
from services.runtime.auth.principals import ANONYMOUS, Principal
from services.runtime.errors import OverloadedError
from services.runtime.metrics import new_registry
from tests.support.announced import AnnouncedFleet
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

RESULT = b'{"jsonrpc":"2.0","id":1,\n"result":{}}'
SAID = b'{"jsonrpc":"2.0","method":"x"}'
ALL = frozenset(LIST_KINDS)


class Caller:
    """The other end of one HTTP request."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.hung_up = asyncio.Event()
        self._is_read = False

    async def receive(self) -> Message:
        if not self._is_read:
            self._is_read = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.hung_up.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def content_type(self) -> str:
        headers: dict[bytes, bytes] = dict(self.sent[0]["headers"])
        return headers[b"content-type"].decode()

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)

    @property
    def is_over(self) -> bool:
        return bool(self.sent) and self.sent[-1].get("more_body") is False

    def messages(self) -> list[Any]:
        lines = self.body.decode().splitlines()
        return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]


def admission() -> Admission:
    return Admission(most_in_flight=9, most_held_bytes=10**6, metrics=FlowMetrics(new_registry()))


async def converse(answering: Callable[[Say], Awaitable[Answered]], *, takes_events: bool = True) -> Caller:
    caller = Caller()
    with anyio.fail_after(10):
        await Conversation(answering, admission(), takes_events=takes_events)({}, caller.receive, caller.send)
    return caller


async def test_an_answer_before_which_nothing_is_said_is_json_with_its_status() -> None:
    async def answering(_: Say) -> Answered:
        return Answered(RESULT, 404, {"x-own": "1"})

    caller = await converse(answering)
    assert (caller.status, caller.content_type, caller.body) == (404, "application/json", RESULT)


@pytest.mark.parametrize("pause", [True, False])
async def test_what_is_said_before_comes_before_as_events_on_one_line_each(pause: bool) -> None:
    async def answering(say: Say) -> Answered:
        say(SAID)
        if pause:
            await asyncio.sleep(0)
        say(SAID)
        return Answered(RESULT)

    caller = await converse(answering)
    assert (caller.status, caller.content_type, caller.is_over) == (200, "text/event-stream", True)
    assert caller.messages() == [json.loads(SAID), json.loads(SAID), json.loads(RESULT)]


async def test_a_caller_that_takes_no_events_gets_the_answer_alone() -> None:
    async def answering(say: Say) -> Answered:
        say(SAID)
        return Answered(RESULT)

    caller = await converse(answering, takes_events=False)
    assert (caller.content_type, caller.body) == ("application/json", RESULT)


async def test_a_silence_is_filled_with_pings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "PING_S", 0.01)
    go_on = asyncio.Event()

    async def answering(_: Say) -> Answered:
        await go_on.wait()
        return Answered(RESULT)

    caller = Caller()
    async with asyncio.TaskGroup() as group:
        reply = Conversation(answering, admission(), takes_events=True)
        group.create_task(reply({}, caller.receive, caller.send))
        await until(lambda: caller.body.count(b": ping\n\n") > 1)
        go_on.set()
    assert caller.messages() == [json.loads(RESULT)]


@pytest.mark.parametrize("says", [True, False])
async def test_who_hangs_up_cancels_the_work(says: bool) -> None:
    was_cancelled = asyncio.Event()

    async def answering(say: Say) -> Answered:
        if says:
            say(SAID)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            was_cancelled.set()
            raise
        return Answered(RESULT)

    caller = Caller()
    with anyio.fail_after(10):
        async with asyncio.TaskGroup() as group:
            reply = Conversation(answering, admission(), takes_events=True)
            group.create_task(reply({}, caller.receive, caller.send))
            if says:
                await until(lambda: SAID in caller.body)
            else:
                await asyncio.sleep(0)
            caller.hung_up.set()
    assert was_cancelled.is_set()
    assert not caller.is_over


async def test_who_hangs_up_during_a_stream_leaves_nothing_in_memory() -> None:
    async def answering(say: Say) -> Answered:
        say(SAID)
        await asyncio.Event().wait()
        return Answered(RESULT)

    caller = Caller()
    reply = Conversation(answering, admission(), takes_events=True)
    left = weakref.ref(reply)
    task = asyncio.ensure_future(reply({}, caller.receive, caller.send))
    del reply
    gc.disable()
    try:
        with anyio.fail_after(10):
            await until(lambda: SAID in caller.body)
            caller.hung_up.set()
            await task
            del task
            await until(lambda: left() is None)
    finally:
        gc.enable()


async def test_the_result_that_ends_a_stream_is_held_until_its_caller_has_taken_it() -> None:
    held = admission()
    takes = asyncio.Event()

    async def answering(say: Say) -> Answered:
        say(SAID)
        return Answered(RESULT)

    async def send(_: Message) -> None:
        await takes.wait()

    async with asyncio.TaskGroup() as group:
        reply = Conversation(answering, held, takes_events=True)
        group.create_task(reply({}, Caller().receive, send))
        await until(lambda: held.held_bytes > len(RESULT))
        takes.set()
    assert held.held_bytes == 0


async def test_of_what_a_caller_does_not_take_the_oldest_is_dropped() -> None:
    async def answering(say: Say) -> Answered:
        for number in range(1000):
            say(b'{"number":%d}' % number)
        return Answered(RESULT)

    caller = await converse(answering)
    numbers = [message["number"] for message in caller.messages()[:-1]]
    assert numbers == list(range(1000 - 256, 1000))


class Changing:
    """A fleet, and what listens to its changes."""

    def __init__(self, most_listeners: int = 10) -> None:
        self.announced = AnnouncedFleet()
        self.changes = ListChanges(CatalogueView(self.announced.fleet), most_listeners=most_listeners)
        self.stopping = asyncio.Event()

    async def listen(self, group: asyncio.TaskGroup, stream: ChangeStream) -> Caller:
        """Open a stream; return when it listens."""
        listeners = self.changes.listeners
        caller = Caller()
        group.create_task(stream({}, caller.receive, caller.send))
        await until(lambda: self.changes.listeners > listeners and caller.sent)
        return caller

    def stream(self, principal: Principal = ANONYMOUS, server: str | None = None) -> ChangeStream:
        return ChangeStream(self.changes.listening(principal, server, ALL))


def listen_request(**notifications: Any) -> RpcRequest:
    params = {"notifications": notifications}
    message = {"jsonrpc": "2.0", "id": "s1", "method": "subscriptions/listen", "params": params}
    request = read_message(json.dumps(message).encode())
    assert isinstance(request, RpcRequest)
    return request


def methods(caller: Caller) -> list[str]:
    return [message["method"].removeprefix("notifications/") for message in caller.messages() if "method" in message]


async def test_streams_are_told_what_changed_of_what_they_listen_to_and_end_with_the_process() -> None:
    changing = Changing()
    only_b = Principal(id="b", scopes=frozenset({"query"}), servers=("b",), tools=("*",))
    with anyio.fail_after(20):
        async with asyncio.TaskGroup() as group:
            group.create_task(changing.changes.watch(changing.stopping))
            everything = await changing.listen(group, changing.stream())
            one = await changing.listen(group, changing.stream(server="a"))
            other = await changing.listen(group, changing.stream(only_b))
            await changing.announced.join("a", tools=[{"name": "t"}], templates=[{"uriTemplate": "x:{y}"}])
            await until(lambda: len(methods(everything)) == 2)
            await changing.announced.join("b", prompts=[{"name": "p"}])
            await until(lambda: len(methods(everything)) == 3)
            changing.stopping.set()
    assert methods(everything) == ["resources/list_changed", "tools/list_changed", "prompts/list_changed"]
    assert methods(one) == ["resources/list_changed", "tools/list_changed"]
    assert methods(other) == ["prompts/list_changed"]
    assert everything.is_over
    assert changing.changes.listeners == 0


async def test_a_subscription_says_what_it_honours_and_names_itself_in_all_it_says() -> None:
    changing = Changing()
    request = listen_request(toolsListChanged=True, promptsListChanged=False, resourceSubscriptions=["x:"])
    with anyio.fail_after(20):
        async with asyncio.TaskGroup() as group:
            group.create_task(changing.changes.watch(changing.stopping))
            caller = await changing.listen(group, subscription(request, None, ANONYMOUS, changing.changes))
            await changing.announced.join("a", tools=[{"name": "t"}], prompts=[{"name": "p"}])
            await until(lambda: len(methods(caller)) == 2)
            changing.stopping.set()
    meta = {"io.modelcontextprotocol/subscriptionId": "s1"}
    acknowledged, changed, ended = caller.messages()
    assert acknowledged["params"] == {"_meta": meta, "notifications": {"toolsListChanged": True}}
    assert (changed["method"], changed["params"]) == ("notifications/tools/list_changed", {"_meta": meta})
    assert (ended["id"], ended["result"]) == ("s1", {"resultType": "complete", "_meta": meta})


async def test_a_stream_is_pinged_and_forgotten_when_its_client_hangs_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriptions, "PING_S", 0.01)
    changing = Changing()
    with anyio.fail_after(20):
        async with asyncio.TaskGroup() as group:
            caller = await changing.listen(group, changing.stream())
            await until(lambda: caller.body.count(b": ping\n\n") > 2)
            caller.hung_up.set()
    assert changing.changes.listeners == 0


async def test_one_stream_too_many_is_refused() -> None:
    changing = Changing(most_listeners=1)
    with changing.changes.listening(ANONYMOUS, None, ALL), pytest.raises(OverloadedError):
        await changing.stream()({}, Caller().receive, Caller().send)


async def test_a_stream_that_begins_at_the_end_ends_at_once() -> None:
    changing = Changing()
    changing.stopping.set()
    await changing.changes.watch(changing.stopping)
    caller = Caller()
    with anyio.fail_after(10):
        await changing.stream()({}, caller.receive, caller.send)
    assert caller.is_over
