"""The sales database as a client sees it, over both transports and in both eras of the protocol."""

import asyncio
import threading
from pathlib import Path

import anyio
import anyio.from_thread
import pytest
from mcp.client import Client
from mcp.types import TextContent, TextResourceContents

from examples.database_mcp import server
from examples.database_mcp.queries import QueryResult
from examples.database_mcp.server import create_server
from tests.examples.processes import client_of
from tests.examples.test_queries import ENDLESS

pytestmark = pytest.mark.anyio

WAYS = [("stdio", "auto"), ("stdio", "legacy"), ("http", "auto"), ("http", "legacy")]


@pytest.mark.parametrize(("transport", "mode"), WAYS)
async def test_a_client_finds_its_way_from_tables_to_rows(transport: str, mode: str, tmp_path: Path) -> None:
    options = ("--database", str(tmp_path / "sales.db"), "--version", "2.5.0")
    async with client_of(transport, "database_mcp", *options, mode=mode) as client:
        assert client.server_info is not None
        assert (client.server_info.name, client.server_info.version) == ("database_mcp", "2.5.0")
        assert (client.protocol_version == "2026-07-28") is (mode == "auto")
        tools = (await client.list_tools()).tools
        assert [tool.name for tool in tools] == ["list_tables", "describe_table", "query"]
        tables = await client.call_tool("list_tables", {})
        assert tables.structured_content["tables"][0] == {"name": "customers", "row_count": 400}
        described = await client.call_tool("describe_table", {"table": "orders"})
        assert "total_amount" in [column["name"] for column in described.structured_content["columns"]]
        rows = await client.call_tool("query", {"sql": "SELECT count(*) AS n FROM orders"})
        assert rows.structured_content == {"columns": ["n"], "rows": [[4000]], "row_count": 1, "truncated": False}
        (schema,) = (await client.read_resource("schema://sales")).contents
        assert isinstance(schema, TextResourceContents)
        assert "CREATE TABLE orders" in schema.text


async def test_every_tool_is_described_and_called_read_only(database: Path) -> None:
    async with Client(create_server(database, version="1.0.0")) as client:
        for tool in (await client.list_tools()).tools:
            assert tool.title
            assert tool.description
            assert tool.output_schema is not None
            assert all("description" in argument for argument in tool.input_schema.get("properties", {}).values())
            assert tool.annotations is not None
            assert tool.annotations.read_only_hint
            assert tool.annotations.idempotent_hint


@pytest.mark.parametrize(
    ("tool", "arguments", "message"),
    [
        ("query", {"sql": "DROP TABLE orders"}, "Only one SELECT"),
        ("query", {"sql": "SELECT x FROM orders"}, "no such column: x"),
        ("query", {"sql": "SELECT 1", "max_rows": 1001}, "less than or equal to 1000"),
        ("query", {"sql": ENDLESS}, "ran longer than 0.2 s"),
        ("describe_table", {"table": "secrets"}, "The tables are: customers, orders, products"),
    ],
)
async def test_a_mistake_is_a_tool_error_that_says_what_to_do(
    database: Path, tool: str, arguments: dict[str, object], message: str
) -> None:
    async with Client(create_server(database, version="1.0.0", time_limit_s=0.2)) as client:
        with anyio.fail_after(10):
            result = await client.call_tool(tool, arguments)
    assert result.is_error
    (content,) = result.content
    assert isinstance(content, TextContent)
    assert message in content.text
    assert str(database.parent) not in content.text


async def test_a_lost_database_is_a_tool_error_without_its_path(database: Path) -> None:
    async with Client(create_server(database, version="1.0.0")) as client:
        await anyio.Path(database).unlink()
        result = await client.call_tool("query", {"sql": "SELECT 1"})
    assert result.is_error
    (content,) = result.content
    assert isinstance(content, TextContent)
    assert content.text == "Error executing tool query"


async def test_a_long_query_does_not_hold_up_the_others(database: Path) -> None:
    async with Client(create_server(database, version="1.0.0", time_limit_s=60)) as client:
        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                for _ in range(3):
                    group.start_soon(client.call_tool, "query", {"sql": ENDLESS})
                await anyio.wait_all_tasks_blocked()
                answer = await client.call_tool("query", {"sql": "SELECT 1"})
                group.cancel_scope.cancel()
    assert not answer.is_error


async def test_a_query_whose_caller_has_gone_is_abandoned(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started, stopped = anyio.Event(), anyio.Event()

    def wait_to_be_abandoned(*_: object, abandoned: threading.Event, **__: object) -> QueryResult:
        anyio.from_thread.run_sync(started.set)
        if abandoned.wait(timeout=20):
            loop.call_soon_threadsafe(stopped.set)
        return QueryResult(columns=[], rows=[], row_count=0, truncated=False)

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(server, "run_query", wait_to_be_abandoned)
    async with Client(create_server(database, version="1.0.0")) as client:
        with anyio.fail_after(10):
            async with anyio.create_task_group() as group:
                group.start_soon(client.call_tool, "query", {"sql": "SELECT 1"})
                await started.wait()
                group.cancel_scope.cancel()
            await stopped.wait()
