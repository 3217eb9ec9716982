"""The product metadata as a client sees it, and its agreement with the sales database."""

import json
from pathlib import Path
from typing import Any

import pytest
from mcp.client import Client
from mcp.types import TextContent, TextResourceContents

from examples.database_mcp.server import create_server as create_database_server
from examples.product_metadata_mcp.columns import COLUMN_MAPPINGS, ColumnMapping
from examples.product_metadata_mcp.server import create_server
from tests.examples.processes import client_of
from tests.examples.test_database_mcp import WAYS

pytestmark = pytest.mark.anyio


async def read_json(client: Client, uri: str) -> Any:
    (content,) = (await client.read_resource(uri)).contents
    assert isinstance(content, TextResourceContents)
    assert content.mime_type == "application/json"
    return json.loads(content.text)


@pytest.mark.parametrize(("transport", "mode"), WAYS)
async def test_a_client_resolves_a_nickname(transport: str, mode: str) -> None:
    async with client_of(transport, "product_metadata_mcp", "--version", "1.1.0", mode=mode) as client:
        assert client.server_info is not None
        assert (client.server_info.name, client.server_info.version) == ("product_metadata_mcp", "1.1.0")
        assert [tool.name for tool in (await client.list_tools()).tools] == ["resolve_product", "resolve_column"]
        result = await client.call_tool("resolve_product", {"alias": "abracadabra"})
        assert result.structured_content == {
            "alias": "abracadabra",
            "product_id": 1,
            "name": "Magic Wand Pro",
            "category": "Props",
        }
        uris = [str(resource.uri) for resource in (await client.list_resources()).resources]
        assert uris == ["product-aliases://list", "column-mappings://list", "metadata-summary://info"]
        summary = await read_json(client, "metadata-summary://info")
        assert summary["alias_count"] == len((await read_json(client, "product-aliases://list"))["aliases"])
        assert summary["column_count"] == len((await read_json(client, "column-mappings://list"))["columns"])


async def test_every_alias_names_a_row_of_the_sales_database(database: Path) -> None:
    async with (
        Client(create_server(version="1.0.0")) as metadata,
        Client(create_database_server(database, version="1.0.0")) as sales,
    ):
        aliases = (await read_json(metadata, "product-aliases://list"))["aliases"]
        found = await sales.call_tool("query", {"sql": "SELECT product_id, name, category FROM products"})
    rows = {tuple(row) for row in found.structured_content["rows"]}
    assert aliases
    assert {(alias["product_id"], alias["name"], alias["category"]) for alias in aliases} <= rows


@pytest.mark.parametrize("mapping", COLUMN_MAPPINGS, ids=lambda mapping: mapping.term)
async def test_every_expression_runs_in_the_sales_database(database: Path, mapping: ColumnMapping) -> None:
    sql = " ".join(("SELECT", mapping.expression, "FROM", mapping.table, "LIMIT 1"))
    async with Client(create_database_server(database, version="1.0.0")) as sales:
        result = await sales.call_tool("query", {"sql": sql})
    assert not result.is_error
    assert result.structured_content["rows"][0][0] is not None


async def test_total_revenue_is_the_sum_of_the_orders() -> None:
    async with Client(create_server(version="1.0.0")) as client:
        result = await client.call_tool("resolve_column", {"term": "Total  Revenue"})
    assert result.structured_content["expression"] == "SUM(orders.total_amount)"


@pytest.mark.parametrize("alias", ["Abracadabra", "  ABRACADABRA ", "magic wand pro"])
async def test_case_and_blanks_do_not_matter(alias: str) -> None:
    async with Client(create_server(version="1.0.0")) as client:
        result = await client.call_tool("resolve_product", {"alias": alias})
    assert result.structured_content["product_id"] == 1


@pytest.mark.parametrize(
    ("tool", "arguments", "message"),
    [
        ("resolve_product", {"alias": "abracadabar"}, "Unknown product alias. Did you mean: abracadabra"),
        ("resolve_product", {"alias": "zzzzzz"}, "none is spelled alike"),
        ("resolve_column", {"term": "total revenues"}, "Did you mean: total revenue"),
    ],
)
async def test_an_unknown_word_is_a_tool_error_with_the_nearest_known(
    tool: str, arguments: dict[str, str], message: str
) -> None:
    async with Client(create_server(version="1.0.0")) as client:
        result = await client.call_tool(tool, arguments)
    assert result.is_error
    (content,) = result.content
    assert isinstance(content, TextContent)
    assert message in content.text
