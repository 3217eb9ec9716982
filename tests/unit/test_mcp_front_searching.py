"""`?tools=search`: what is found, by whom, in which order; and that it is called as any tool."""

import json
import random
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus_schemas.workers import Definition
from services.orchestrator.context import Context
from services.orchestrator.mcp.calls import Calls
from services.orchestrator.mcp.directory import Directory
from services.orchestrator.mcp.eras import LEGACY, MODERN, Era
from services.orchestrator.mcp.jsonrpc import RpcError, RpcRequest, read_message
from services.orchestrator.mcp.lists import McpLists
from services.orchestrator.mcp.requests import Asking
from services.orchestrator.mcp.searching import SearchingRequests
from services.orchestrator.mcp.tool_index import Entry, ToolIndex
from services.runtime.auth.principals import ANONYMOUS, Principal
from services.runtime.config.policy import ServerPolicy
from tests.unit.test_orchestrator_query import Gateway

pytestmark = pytest.mark.anyio

SALES: list[Definition] = [
    {"name": "list_tables", "description": "Lists the tables of the sales database."},
    {
        "name": "runQuery",
        "description": "Runs SQL.",
        "inputSchema": {"properties": {"sql": {"description": "A query"}}},
    },
]
MAIL: list[Definition] = [
    {"name": "send", "title": "Send mail", "description": "Sends a message to somebody."},
    {"name": "read", "description": "Reads the messages in a mailbox, also those about tables."},
]


def names(index: ToolIndex, words: str) -> list[str]:
    return [entry.name for entry in index.find(words, lambda _: True)]


INDEX = ToolIndex(
    [*(Entry("sales", str(one["name"]), one) for one in SALES), *(Entry("mail", str(one["name"]), one) for one in MAIL)]
)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("list tables", ["list_tables", "read"]),
        ("TABLE", ["list_tables", "read"]),
        ("query", ["runQuery"]),
        ("run the sql", ["runQuery", "list_tables", "read"]),
        ("mail", ["send", "read"]),
        ("xyzzy", []),
        ("", ["read", "send", "list_tables", "runQuery"]),
        ("?!", ["read", "send", "list_tables", "runQuery"]),
    ],
)
def test_tools_are_found_by_their_names_and_descriptions_the_best_first(words: str, found: list[str]) -> None:
    got = names(INDEX, words)
    assert got[:1] == found[:1]
    assert set(got) == set(found)


@given(words=st.text(max_size=40), seed=st.integers())
def test_the_order_depends_on_nothing_but_the_catalogue_and_the_words(words: str, seed: int) -> None:
    entries = [*(Entry("a", f"tool_{number % 3}_{number}", {"description": "same"}) for number in range(9))]
    shuffled = list(entries)
    random.Random(seed).shuffle(shuffled)  # noqa: S311
    for asked in (words, "tool same 1"):
        assert names(ToolIndex(entries), asked) == names(ToolIndex(shuffled), asked)


@given(words=st.text(max_size=40), allowed=st.sets(st.sampled_from(["read", "send", "list_tables", "runQuery"])))
def test_nothing_is_found_that_may_not_be_used(words: str, allowed: set[str]) -> None:
    found = [entry.name for entry in INDEX.find(words, lambda entry: entry.name in allowed)]
    assert found == [name for name in names(INDEX, words) if name in allowed]


@pytest.mark.parametrize(
    "definition",
    [{}, {"description": 7}, {"inputSchema": [], "title": None}, {"inputSchema": {"properties": {"a": 1}}}],
)
def test_a_definition_without_texts_is_found_by_its_name(definition: dict[str, Any]) -> None:
    assert names(ToolIndex([Entry("a", "ping", definition)]), "ping") == ["ping"]


class Client:
    """Asks in `?tools=search`."""

    def __init__(self, gateway: Gateway, *, era: Era = LEGACY, principal: Principal = ANONYMOUS) -> None:
        directory = Directory(gateway.policy, gateway.catalogue)
        calls = Calls(gateway.policy, directory, gateway.queries, gateway.admission)
        lists = McpLists(directory, page_size=10)
        self._requests = SearchingRequests(directory, lists, calls, gateway.catalogue)
        self._era = era
        self._principal = principal

    async def ask(self, method: str, server: str | None = None, **params: Any) -> Any:
        message = read_message(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode())
        assert isinstance(message, RpcRequest)
        context = Context("id", self._principal, time.monotonic())
        asking = Asking(message, server, self._era, {}, context, lambda _: None)
        return json.loads(await self._requests.result(asking))

    async def call(self, tool: str, server: str | None = None, /, **arguments: Any) -> Any:
        return await self.ask("tools/call", server, name=tool, arguments=arguments)

    async def find(self, query: str, server: str | None = None, **more: Any) -> list[str]:
        result = await self.call("find_tools", server, query=query, **more)
        assert json.loads(result["content"][0]["text"]) == result["structuredContent"]
        return [tool["name"] for tool in result["structuredContent"]["tools"]]


async def two_servers() -> Gateway:
    gateway = Gateway(sales=ServerPolicy(), mail=ServerPolicy())
    await gateway.announced.join("sales", tools=SALES)
    await gateway.announced.join("mail", tools=MAIL)
    return gateway


@pytest.mark.parametrize("era", [LEGACY, MODERN])
async def test_two_tools_are_listed_in_place_of_all_and_the_rest_as_always(era: Era) -> None:
    client = Client(await two_servers(), era=era)
    listed = await client.ask("tools/list")
    assert [tool["name"] for tool in listed["tools"]] == ["find_tools", "call_tool"]
    assert ("resultType" in listed) == (era is MODERN)
    assert (await client.ask("prompts/list"))["prompts"] == []


async def test_what_is_found_is_called_by_the_name_it_was_found_by() -> None:
    gateway = await two_servers()
    client = Client(gateway)
    [best, *_] = await client.find("list the tables")
    assert best == "sales__list_tables"
    result = await client.call("call_tool", name=best, arguments={"schema": [1.0, "ü"]})
    assert result == {"content": []}
    [call] = gateway.workers.calls
    assert json.loads(call.body)["params"] == {"name": "list_tables", "arguments": {"schema": [1.0, "ü"]}}
    assert await client.call(best) == {"content": []}  # by its own name as well
    assert await client.find("tables", server="sales") == ["list_tables"]


async def test_rights_hold_for_finding_and_calling_alike() -> None:
    principal = Principal(id="p", scopes=frozenset({"query"}), servers=("*",), tools=("read", "list_*"))
    client = Client(await two_servers(), principal=principal)
    assert set(await client.find("")) == {"mail__read", "sales__list_tables"}
    assert set(await client.find("query sql send tables")) == {"mail__read", "sales__list_tables"}
    with pytest.raises(RpcError, match="Unknown tool"):
        await client.call("call_tool", name="sales__runQuery")


async def test_a_tool_that_comes_or_goes_is_found_or_not() -> None:
    gateway = await two_servers()
    client = Client(gateway)
    worker = await gateway.announced.join("clock", tools=[{"name": "now"}])
    assert await client.find("now") == ["clock__now"]
    await gateway.announced.leave(worker)
    assert await client.find("now") == []


async def test_as_many_are_found_as_are_asked_for_and_ten_at_most_by_default() -> None:
    gateway = Gateway(many=ServerPolicy())
    tools: list[Definition] = [{"name": f"tool_{number:03}", "description": "x" * 10_000} for number in range(100)]
    await gateway.announced.join("many", tools=tools)
    client = Client(gateway)
    assert len(await client.find("tool")) == 10
    assert len(await client.find("tool", limit=3)) == 3
    assert 20 <= len(await client.find("tool", limit=50)) < 27  # 256 KiB


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("find_tools", {"query": 7}, "query must"),
        ("find_tools", {"query": "x" * 1001}, "query must"),
        ("find_tools", {"limit": 0}, "limit must"),
        ("find_tools", {"limit": True}, "limit must"),
        ("call_tool", {}, "name must"),
        ("call_tool", {"name": "call_tool"}, "name must"),
        ("call_tool", {"name": "sales__list_tables", "arguments": []}, "arguments must"),
    ],
)
async def test_a_wrong_call_of_the_two_is_told_to_the_model(name: str, arguments: dict[str, Any], said: str) -> None:
    gateway = await two_servers()
    result = await Client(gateway).call(name, **arguments)
    assert result["isError"] is True
    assert result["content"][0]["text"].startswith(said)
    assert gateway.workers.calls == []
