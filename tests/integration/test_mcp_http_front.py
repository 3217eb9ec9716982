"""The HTTP side of /mcp: who may come in, what is answered to what is no request; a dead server hurts nobody."""

import json
from collections.abc import AsyncIterator
from typing import Any

import anyio
import httpx
import pytest

from tests.support.fleet import OWN_KEY, Fleet, fleet, python_server
from tests.support.mcp_wire import ACCEPT, LegacyClient

pytestmark = pytest.mark.anyio

TOLD = "tests.support.mcp_servers.telling_meta"
MODERN = "2026-07-28"
META: dict[str, Any] = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {"elicitation": {"form": {}}, "tasks": {}},
    "io.modelcontextprotocol/clientInfo": {"name": "edge", "version": "1"},
}
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture(scope="module")
async def running() -> AsyncIterator[Fleet]:
    config = {
        "told": python_server(TOLD, era="modern"),
        "dead": {"command": ["false"], "alternates": ["told"]},
        "gone": {"url": "http://127.0.0.1:1/mcp"},
    }
    keys: dict[str, dict[str, Any]] = {"narrow": {"servers": ["other"]}, "admin": {"scopes": ["admin"]}}
    async with fleet(config, workers={"told": 1}, keys=keys) as running:
        yield running


async def post(
    running: Fleet,
    message: Any,
    *,
    path: str = "/mcp",
    key: str | None = OWN_KEY,
    headers: dict[str, str] | None = None,
) -> httpx.Response:
    sent = {"accept": ACCEPT, "content-type": "application/json", **(headers or {})}
    if key is not None:
        sent["authorization"] = f"Bearer {running.keys[key]}"
    content = message if isinstance(message, bytes) else json.dumps(message).encode()
    return await running.orchestrators[0].http.post(path, content=content, headers=sent)


async def ask(running: Fleet, method: str, params: dict[str, Any] | None = None, **more: Any) -> httpx.Response:
    """Send a request of 2026-07-28 with the headers that it needs."""
    params = params or {}
    named = {"mcp-name": params["name"]} if "name" in params else {}
    headers = {"mcp-protocol-version": MODERN, "mcp-method": method, **named}
    message = {"jsonrpc": "2.0", "id": "r1", "method": method, "params": {"_meta": META, **params}}
    return await post(running, message, headers=headers, **more)


@pytest.mark.parametrize("path", ["/mcp", "/servers/told/mcp"])
async def test_without_a_good_key_nothing_is_told(running: Fleet, path: str) -> None:
    missing = await ask(running, "tools/list", path=path, key=None)
    assert (missing.status_code, missing.json()["code"]) == (401, "unauthorized")
    assert missing.headers["www-authenticate"].startswith("Bearer")
    assert (await ask(running, "tools/list", path=path, key="admin")).status_code == 403


async def test_a_key_for_other_servers_sees_an_empty_fleet_and_no_server(running: Fleet) -> None:
    assert (await ask(running, "tools/list", key="narrow")).json()["result"]["tools"] == []
    refused = await ask(running, "tools/call", {"name": "told__meta"}, key="narrow")
    assert (refused.status_code, refused.json()["error"]["message"]) == (400, "Unknown tool: told__meta")
    assert (await ask(running, "tools/list", key="narrow", path="/servers/told/mcp")).status_code == 403


async def test_a_server_that_nobody_knows_has_no_address(running: Fleet) -> None:
    nowhere = await ask(running, "tools/list", path="/servers/nobody/mcp")
    assert (nowhere.status_code, nowhere.json()["code"]) == (404, "server_not_found")


async def test_pages_of_strangers_and_rebound_names_are_kept_out(running: Fleet) -> None:
    message = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    assert (await post(running, message, headers={"origin": "http://evil.example"})).status_code == 403
    assert (await post(running, message, headers={"host": "evil.example"})).status_code == 421


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [(b"{", 400, -32700), (b"[]", 400, -32600), (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', 400, -32600)],
)
async def test_what_is_no_message_is_refused_as_json_rpc(running: Fleet, body: bytes, status: int, code: int) -> None:
    refused = await post(running, body)
    assert (refused.status_code, refused.json()["id"], refused.json()["error"]["code"]) == (status, None, code)


async def test_other_methods_types_and_sizes_are_refused(running: Fleet) -> None:
    http = running.orchestrators[0].http
    authorization = {"authorization": f"Bearer {running.keys[OWN_KEY]}"}
    assert (await http.delete("/mcp", headers=authorization)).status_code == 405
    for headers in (
        {},
        {"accept": "text/event-stream"},
        {"accept": "text/event-stream", "mcp-protocol-version": MODERN},
    ):
        got = await http.get("/mcp", headers=authorization | headers)
        assert (got.status_code, got.headers["allow"]) == (405, "POST")
    assert (await post(running, b"{}", headers={"content-type": "text/plain"})).status_code == 415
    assert (await post(running, b" " * 1_100_000)).status_code == 413


async def test_a_session_that_is_not_this_callers_is_not_found(running: Fleet) -> None:
    client = LegacyClient([running.orchestrators[0].http], key=running.keys[OWN_KEY])
    await client.shake_hands()
    headers = {"mcp-session-id": client.session_id}
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    assert (await post(running, ping, headers=headers)).json() == {"jsonrpc": "2.0", "id": 1, "result": {}}
    assert (await post(running, ping, headers=headers, key="narrow")).status_code == 404
    assert (await post(running, ping, headers={"mcp-session-id": "made-up"})).status_code == 404


async def test_without_a_handshake_tools_are_listed_and_called_all_the_same(running: Fleet) -> None:
    listed = await post(running, {"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
    assert "told__meta" in {tool["name"] for tool in listed.json()["result"]["tools"]}


async def test_a_method_that_there_is_not_is_404_in_the_new_era_and_200_in_the_old(running: Fleet) -> None:
    assert (await ask(running, "no/such")).status_code == 404
    old = await post(running, {"jsonrpc": "2.0", "id": 1, "method": "no/such"})
    assert (old.status_code, old.json()["error"]["code"]) == (200, -32601)


async def test_notifications_are_accepted_and_responses_only_where_something_was_asked(running: Fleet) -> None:
    told = {"jsonrpc": "2.0", "method": "notifications/x"}
    assert (await post(running, told)).status_code == 202
    assert (await post(running, told, headers={"mcp-protocol-version": MODERN})).status_code == 202
    response = {"jsonrpc": "2.0", "id": 1, "result": {}}
    assert (await post(running, response)).status_code == 202
    assert (await post(running, response, headers={"mcp-protocol-version": MODERN})).status_code == 400


async def test_a_server_is_told_of_its_caller_what_we_can_carry_and_in_which_trace_it_is(running: Fleet) -> None:
    meta = {**META, "own": 1, "baggage": "a=b", "traceparent": TRACE}
    answered = await ask(running, "tools/call", {"name": "told__meta", "arguments": {}, "_meta": meta})
    seen = answered.json()["result"]["seen"]
    assert seen["io.modelcontextprotocol/clientCapabilities"] == {"elicitation": {"form": {}}}
    assert seen["io.modelcontextprotocol/clientInfo"] == META["io.modelcontextprotocol/clientInfo"]
    assert (seen["own"], seen["baggage"], seen["traceparent"]) == (1, "a=b", TRACE)
    assert answered.json()["id"] == "r1"


async def test_what_a_server_refuses_is_told_in_its_own_words(running: Fleet) -> None:
    call = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "told__refused\x1b[31m\u0085"}}
    told = await post(running, call)
    assert told.json() == {
        "jsonrpc": "2.0",
        "id": 7,
        "error": {"code": -32000, "message": "the secret word of the server"},
    }


async def test_a_dead_server_is_not_in_the_way_and_its_alternate_answers_for_it(running: Fleet) -> None:
    with anyio.fail_after(30):
        listed = (await ask(running, "tools/list")).json()["result"]["tools"]
        assert {tool["name"].partition("__")[0] for tool in listed} == {"told"}
        stood_in = await ask(running, "tools/call", {"name": "dead__meta", "arguments": {}})
        assert "seen" in stood_in.json()["result"]
        away = await ask(running, "tools/call", {"name": "gone__meta", "arguments": {}})
    error = away.json()["error"]
    assert (away.status_code, error["code"]) == (200, -32603)
    assert (error["data"]["code"], error["data"]["retryable"]) == ("server_unavailable", True)
    assert "127.0.0.1" not in away.text


async def test_calls_are_counted_as_queries(running: Fleet) -> None:
    def count(text: str) -> float:
        (line,) = [
            line for line in text.splitlines() if line.startswith('mcp_query_duration_seconds_count{server="told"}')
        ]
        return float(line.rpartition(" ")[2])

    http = running.orchestrators[0].http
    before = count((await http.get("/metrics")).text)
    await ask(running, "tools/call", {"name": "told__meta", "arguments": {}})
    await ask(running, "tools/list")
    assert count((await http.get("/metrics")).text) == before + 1


async def test_pages_and_streams_are_as_many_as_the_operator_says() -> None:
    env = {"BUSBAR_MCP_PAGE_SIZE": "1", "BUSBAR_MCP_STREAMS": "1"}
    async with fleet({"told": python_server(TOLD, era="modern")}, env=env) as running:
        client = LegacyClient([running.orchestrators[0].http])
        await client.shake_hands()
        first = (await client.ask("tools/list"))["result"]
        assert [tool["name"] for tool in first["tools"]] == ["told__meta"]
        second = (await client.ask("tools/list", {"cursor": first["nextCursor"]}))["result"]
        assert (len(second["tools"]), "nextCursor" in second) == (1, False)
        async with client.listening() as one:
            assert one.status_code == 200
            assert await anext(one.aiter_lines()) == ": ping"
            async with client.listening() as two:
                assert two.status_code == 503
