"""A POST of an MCP client is answered the same whether it goes the short way or through ASGI."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.fleet import fleet, python_server
from tests.support.mcp_wire import ACCEPT, VERSION
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

SDK = "tests.support.mcp_servers.sdk_server"
HEADERS = {"accept": ACCEPT, "content-type": "application/json", "mcp-protocol-version": VERSION}
JSON_ONLY = {**HEADERS, "accept": "application/json"}


class Ground:
    """A fleet in front of one server that writes down what happens to it."""

    def __init__(self, events: Path, http: httpx.AsyncClient) -> None:
        self.events = events
        self.http = http

    async def post(self, body: bytes, *, plain: bool, path: str, headers: dict[str, str]) -> httpx.Response:
        return await self.http.post(path, content=content(body, plain=plain), headers=headers)


def content(body: bytes, *, plain: bool) -> bytes | AsyncIterator[bytes]:
    """Return what makes httpx send the body as a plain request has it, or without a length, in chunks."""

    async def parts() -> AsyncIterator[bytes]:
        yield body

    return body if plain else parts()


@pytest.fixture(scope="module")
async def ground(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ground]:
    events = tmp_path_factory.mktemp("sdk") / "events"
    events.touch()
    async with (
        fleet({"sdk": python_server(SDK, "--events", str(events), era="modern")}) as running,
        httpx.AsyncClient(base_url=running.urls[0], timeout=20, trust_env=False) as http,
    ):
        yield Ground(events, http)


def request(method: str, **params: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": "a b", "method": method, "params": params}).encode()


def call(name: str, arguments: dict[str, Any], **more: Any) -> bytes:
    return request("tools/call", name=name, arguments=arguments, **more)


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        ("/mcp", call("sdk__echo", {"value": "ä"}), HEADERS, 200),
        ("/servers/sdk/mcp", call("echo", {"value": 1}), HEADERS, 200),
        ("/mcp", call("sdk__climb", {"to": 0}, _meta={"progressToken": 7}), HEADERS, 200),
        ("/mcp", call("sdk__nothing", {}), HEADERS, 200),
        ("/mcp", request("tools/list"), HEADERS, 200),
        ("/mcp", request("ping"), HEADERS, 200),
        ("/mcp", request("nonsense"), HEADERS, 200),
        ("/mcp", b'{"jsonrpc":"2.0","method":"notifications/initialized"}', HEADERS, 202),
        ("/mcp", b"[]", HEADERS, 400),
        ("/mcp", b"{", HEADERS, 400),
        ("/mcp", request("ping"), {**HEADERS, "mcp-session-id": "forged"}, 404),
        ("/mcp", request("ping"), {**HEADERS, "content-type": "text/plain"}, 415),
        ("/servers/nobody/mcp", request("ping"), HEADERS, 404),
        ("/mcp", request("server/discover"), {**HEADERS, "mcp-protocol-version": "2026-07-28"}, 400),
    ],
)
async def test_both_ways_give_the_same_answer(
    ground: Ground, path: str, body: bytes, headers: dict[str, str], status: int
) -> None:
    short, long = [await ground.post(body, plain=plain, path=path, headers=headers) for plain in (True, False)]
    assert short.status_code == long.status_code == status
    told, also_told = _comparable(short), _comparable(long)
    assert told == also_told


def _comparable(response: httpx.Response) -> Any:
    """What is the same for two requests in the same words: without the id and the time of each."""
    kept = {name: value for name, value in response.headers.items() if name not in {"date", "content-length"}}
    body = response.text
    if response.headers.get("content-type") == "application/problem+json":
        body = json.dumps({**response.json(), "instance": "", "id": ""})
    return kept, body


@pytest.mark.parametrize("plain", [True, False])
async def test_what_is_said_before_the_result_comes_before_it_as_events(ground: Ground, plain: bool) -> None:
    body = call("sdk__climb", {"to": 2}, _meta={"progressToken": "t"})
    async with ground.http.stream("POST", "/mcp", content=content(body, plain=plain), headers=HEADERS) as response:
        assert response.headers["content-type"] == "text/event-stream"
        messages = []
        async for line in response.aiter_lines():
            if line.startswith("data: "):
                messages.append(json.loads(line.removeprefix("data: ")))
                if "method" in messages[-1]:  # a tool that goes on when it is told to
                    await ground.post(call("sdk__step", {}), plain=plain, path="/mcp", headers=HEADERS)
    assert [message["params"]["progress"] for message in messages[:-1]] == [1, 2]
    assert messages[-1]["result"]["structuredContent"] == {"result": "climbed"}
    # The connection is as good as before.
    again = await ground.post(call("sdk__echo", {"value": 1}), plain=plain, path="/mcp", headers=HEADERS)
    assert again.status_code == 200


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("headers", [HEADERS, JSON_ONLY], ids=["events", "json"])
async def test_who_hangs_up_ends_the_call_at_the_server(ground: Ground, plain: bool, headers: dict[str, str]) -> None:
    def cancelled() -> int:
        return ground.events.read_text().count("cancelled")

    before = cancelled()
    with pytest.raises(httpx.ReadTimeout):
        await ground.http.post(
            "/mcp",
            content=content(call("sdk__sleep", {"seconds": 60}), plain=plain),
            headers=headers,
            timeout=httpx.Timeout(20, read=0.5),
        )
    await until(lambda: cancelled() == before + 1)
