"""Callers' headers, from both edges to a real server: the named ones arrive, nothing else ever does."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.fleet import Fleet, fleet
from tests.support.mcp_servers.raw_http import RawServer, Request, raw_server

pytestmark = pytest.mark.anyio

EDGES = ["http", "bus"]
CALLERS = {
    "x-tenant": "planted-emea",
    "x-region": "planted-forged",
    "x-other": "planted-other",
    "cookie": "planted-cookie",
    "mcp-session-id": "planted-session",
    "mcp-forward-x-other": "planted-smuggled",
}


@pytest.fixture(scope="module")
async def web() -> AsyncIterator[RawServer]:
    async def serve(request: Request, _: asyncio.StreamReader) -> None:
        if request.json["method"] == "tools/list":
            tools = [{"name": "headers", "inputSchema": {"type": "object"}}]
            await request.result(json.dumps({"tools": tools}).encode())
        else:
            await request.result(json.dumps({"content": [], "headers": request.headers}).encode())

    async with raw_server(serve) as server:
        yield server


@pytest.fixture(scope="module")
async def running(web: RawServer) -> AsyncIterator[Fleet]:
    config: dict[str, Any] = {
        "tenants": {
            "url": web.url,
            "headers": {"x-region": "configured", "authorization": "Bearer configured"},
            "forward_headers": ["x-tenant", "x-region", "x-empty"],
        },
        "plain": {"url": web.url},
        "away": {"url": web.url, "forward_headers": ["x-tenant"], "alternates": ["plain"]},
        "gone": {"url": web.url, "alternates": ["tenants"]},
    }
    workers = {"tenants": 1, "plain": 1}
    async with fleet(config, workers=workers, keys={}, env={"BUSBAR_LOG_LEVEL": "DEBUG"}) as running:
        yield running


async def received(running: Fleet, edge: str, server: str, headers: dict[str, str]) -> dict[str, str]:
    """Ask with `headers`; return those that the MCP server got."""
    answer = await running.asking(edge)({"server": server, "tool": "headers"}, headers=headers)
    assert answer.status == 200, answer.body
    arrived: dict[str, str] = answer.json["result"]["headers"]
    return arrived


@pytest.mark.parametrize("edge", EDGES)
async def test_named_headers_arrive_the_operators_go_first_and_no_others_do(running: Fleet, edge: str) -> None:
    arrived = await received(running, edge, "tenants", CALLERS)
    assert arrived["x-tenant"] == "planted-emea"
    assert arrived["x-region"] == "configured"
    assert arrived["authorization"] == "Bearer configured"
    assert [name for name, value in arrived.items() if "planted" in value] == ["x-tenant"]
    assert running.keys["fleet"] not in json.dumps(arrived)


async def test_the_server_cannot_tell_the_edges_apart(running: Fleet) -> None:
    over_http, over_bus = [await received(running, edge, "tenants", CALLERS) for edge in EDGES]
    assert over_http == over_bus


@pytest.mark.parametrize("edge", EDGES)
async def test_a_caller_without_such_headers_is_answered_too(running: Fleet, edge: str) -> None:
    arrived = await received(running, edge, "tenants", {})
    assert {"x-tenant", "x-empty"}.isdisjoint(arrived)
    assert arrived["x-region"] == "configured"


@pytest.mark.parametrize(("asked", "arrives"), [("plain", False), ("away", False), ("gone", True)])
@pytest.mark.parametrize("edge", EDGES)
async def test_the_configuration_of_the_server_that_answers_decides(
    running: Fleet, edge: str, asked: str, arrives: bool
) -> None:
    arrived = await received(running, edge, asked, CALLERS)
    assert ("x-tenant" in arrived) is arrives


@pytest.mark.parametrize(("value", "keyword"), [("\u00e9", "pattern"), ("x" * 4096, "maxLength")])
async def test_a_header_that_cannot_be_passed_on_is_refused_by_its_name_on_both_edges(
    running: Fleet, value: str, keyword: str
) -> None:
    told = []
    for edge in EDGES:
        query = {"server": "tenants", "tool": "headers"}
        answer = await running.asking(edge)(query, headers={"x-tenant": value})
        problem = answer.json
        assert problem["code"] == "invalid_request"
        assert problem["errors"] == [{"pointer": "/headers/x-tenant", "keyword": keyword}]
        told.append((answer.status, {**problem, "id": ""}))
        # Where nobody wants the header, nobody minds it.
        assert "x-tenant" not in await received(running, edge, "plain", {"x-tenant": value})
    assert told[0] == told[1]


async def test_a_forwarded_header_is_in_no_log_and_no_metric(running: Fleet) -> None:
    for edge in EDGES:
        await received(running, edge, "tenants", CALLERS)
    metrics = (await running.get("/metrics")).body.decode()
    assert 'server="tenants"' in metrics
    assert "planted" not in metrics
    logs = running.logs()
    assert '"event": "worker started"' in logs
    assert "planted" not in logs
