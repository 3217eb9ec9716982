"""Whatever a server's result holds, and however large it is: its bytes reach the caller as the server wrote them."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import anyio
import pytest

from services.orchestrator.bus_api import _HEADERS_BYTES
from services.runtime.bus.chunks import CHUNK_BYTES, INLINE_BYTES
from services.runtime.outlines import MOST_BRACKETS
from services.worker.mcp.session import MAX_RESULT_BYTES
from tests.support.fleet import Answered, Fleet, fleet, python_server
from tests.support.mcp_servers.kept import TOOL, KeptResults, in_bodies, in_events, on_one_stream
from tests.support.mcp_servers.raw_http import raw_server

pytestmark = pytest.mark.anyio

EDGES = ["http", "bus"]
SERVERS = ["stdio", "bodies", "events", "sse"]
ONE_STREAM = ["stdio", "sse"]
"""Where a response that cannot be read must still end its own call, and no other."""

BUS_LIMIT_BYTES = 8 * 2**20 - _HEADERS_BYTES
PLANES = "".join(chr(plane * 0x10000 + at) for plane in range(17) for at in (0x41, 0xFFFD, 0xFFFE, 0xFFFF))


def member(value: bytes) -> bytes:
    return b'{"content":[],"x":%s}' % value


def array(depth: int) -> bytes:
    return member(b"[" * depth + b"]" * depth)


def objects(depth: int) -> bytes:
    return member(b'{"[{":' * depth + b"[]" + b"}" * depth)


def filled(size: int) -> bytes:
    """A result of so many bytes."""
    return member(b'"' + b"x" * (size - len(member(b'""'))) + b'"')


SMALL = {
    "every-plane": member(json.dumps(PLANES, ensure_ascii=False).encode()),
    "every-plane-escaped": member(json.dumps(PLANES).encode()),
    "escapes": member(rb'"\u00FC\u00fc\/\u002f\\u0041\"\b\f\t\u0000\u001f\u007F"'),
    "separators": member('"\u2028\u2029\x85\x7f\ufeff"'.encode()),
    "line-breaks": member(rb'"a\r\nb\n\ndata: c\n\nevent: d\rid: 1"'),
    "half-a-pair": member(rb'["\ud83d", "\uDE00\ud83d", "\ud83d\ude00", "\\ud83d", {"\udc00": 1}]'),
    "numbers": member(b"[1e400, -1E-400, 1.0, 1, -0.0, -0, 0e0, 12345678901234567890, 1.10, %s]" % (b"9" * 5000)),
    "duplicates": b'{"content":[],"x":1,"x":2,"content":[],"isError":false,"isError":false}',
    "spaces": b'{ \t"content" :\t[ ] , "x":{ } ,"y": 1 }',
    "unknown": b'{"content":[{"type":"hologram","x":[null,true]}],"vendor/x":{"_meta":null},"_meta":{"a":{}},"":""}',
    "tool-error": b'{"isError":true ,"content":[{"type":"text","text":"no"}]}',
    **{f"array-{depth}": array(depth) for depth in (60, 500, 900, 1000, 5000, 100_000)},
    **{f"objects-{depth}": objects(depth) for depth in (60, 500, 900, 1000, 5000)},
    "deep-half-a-pair": member(b"[" * 3000 + rb'"\ud83d"' + b"]" * 3000),
    "deep-tool-error": b'{"isError":true,"content":[],"x":' + b"[" * 3000 + b"]" * 3000 + b"}",
    "deep-input-required": b'{"resultType":"input_required","requestState":"s","inputRequests":{"a":'
    + b"[" * 3000
    + b"]" * 3000
    + b"}}",
}
LARGE = {
    "blob": b'{"contents":[{"uri":"x:y","blob":"' + b"AAECAwQFBgcICQ+/" * 200_000 + b'"}]}',
    "many-members": member(b"{%s}" % b",".join(b'"k%d":[%d, {"v": "\xc3\xbc"}]' % (n, n) for n in range(100_000))),
    "many-halves": member(b'"' + rb"\ud83dx" * 400_000 + b'"'),
}
INLINE = {f"inline{by:+}": filled(INLINE_BYTES + by) for by in (-1, 0, 1)}
CHUNKS = {f"chunks{by:+}": filled(3 * CHUNK_BYTES + by) for by in (-1, 0, 1)}
LIMITS = {"largest": filled(MAX_RESULT_BYTES), "too-large": filled(MAX_RESULT_BYTES + 1), "10-mb": filled(10**7)}
BUS_LIMITS = {"bus-largest": filled(BUS_LIMIT_BYTES - 400), "bus-too-large": filled(BUS_LIMIT_BYTES - 100)}
"""Our own fields around a result take between 100 and 400 bytes."""
UNREADABLE = {"too-many-brackets": array(MOST_BRACKETS // 2 + 1), "no-json": member(b"NaN")}
PRETTY = {"pretty": json.dumps({"content": [], "x": {"y": [1, {}]}}, indent=2).encode()}
RESULTS = SMALL | LARGE | INLINE | CHUNKS | LIMITS | BUS_LIMITS | UNREADABLE | PRETTY


@pytest.fixture(scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    folder = tmp_path_factory.mktemp("kept")
    for name, result in RESULTS.items():
        (folder / name).write_bytes(result)
    config: dict[str, dict[str, Any]] = {"stdio": python_server("tests.support.mcp_servers.kept", str(folder))}
    async with AsyncExitStack() as stack:
        for name, transport, handler in (
            ("bodies", "http", in_bodies),
            ("events", "http", in_events),
            ("sse", "sse", on_one_stream),
        ):
            server = await stack.enter_async_context(raw_server(handler(KeptResults(folder))))
            config[name] = {"url": server.url, "transport": transport}
        # Some of the results break their server again and again; its breaker lets the next call through as a probe.
        yield await stack.enter_async_context(fleet(config, env={"BUSBAR_BREAKER_OPEN_S": "0.001"}))


def query(server: str, name: str, *, held: bool = False) -> dict[str, Any]:
    """A query that would be noticed to wait for its deadline."""
    return {"server": server, "tool": TOOL, "arguments": {"name": name, "held": held}, "timeout_ms": 60_000}


async def ask(running: Fleet, edge: str, server: str, name: str) -> Answered:
    with anyio.fail_after(20):
        return await running.asking(edge)(query(server, name))


def assert_is_told(answer: Answered, name: str) -> None:
    assert answer.status == 200, answer.body[:500]
    # No comparison that pytest would explain: it takes minutes for megabytes.
    is_unchanged = answer.raw_result == RESULTS[name]
    assert is_unchanged


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("name", [*SMALL, *LARGE, *INLINE, *CHUNKS])
async def test_a_result_is_unchanged(running: Fleet, name: str, server: str, edge: str) -> None:
    assert_is_told(await ask(running, edge, server, name), name)


@pytest.mark.parametrize("server", ["bodies", "events"])
async def test_a_result_on_many_lines_is_unchanged(running: Fleet, server: str) -> None:
    assert_is_told(await ask(running, "http", server, "pretty"), "pretty")


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("name", ["10-mb", "largest"])
async def test_a_result_up_to_16_mib_is_unchanged(running: Fleet, name: str, server: str) -> None:
    assert_is_told(await ask(running, "http", server, name), name)


@pytest.mark.parametrize("server", SERVERS)
async def test_a_result_one_byte_larger_is_too_large(running: Fleet, server: str) -> None:
    answer = await ask(running, "http", server, "too-large")
    assert (answer.status, answer.json["code"]) == (502, "result_too_large")


async def test_a_result_that_just_fits_the_callers_bus_is_unchanged(running: Fleet) -> None:
    assert_is_told(await ask(running, "bus", "bodies", "bus-largest"), "bus-largest")


@pytest.mark.parametrize("name", ["bus-too-large", "largest"])
async def test_a_result_that_just_does_not_fit_the_callers_bus_is_too_large(running: Fleet, name: str) -> None:
    answer = await ask(running, "bus", "bodies", name)
    assert (answer.status, answer.json["code"]) == (502, "result_too_large")
    assert_is_told(await ask(running, "http", "bodies", name), name)


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("name", UNREADABLE)
async def test_a_result_that_cannot_be_read_ends_its_call_at_once(
    running: Fleet, name: str, server: str, edge: str
) -> None:
    answer = await ask(running, edge, server, name)
    assert (answer.status, answer.json["code"]) == (502, "upstream_error")


@pytest.mark.parametrize("server", ONE_STREAM)
@pytest.mark.parametrize("name", UNREADABLE)
async def test_a_result_that_cannot_be_read_harms_no_other_call(running: Fleet, name: str, server: str) -> None:
    with anyio.fail_after(20):
        while (await running.ask_http(query(server, "every-plane"))).status != 200:
            pass  # the tests before have opened the breaker; the call that is held must not be its probe
        held = asyncio.ensure_future(running.ask_http(query(server, "every-plane", held=True)))
        told = [(await running.ask_http(query(server, name))).json["code"]]
        while not held.done():
            told.append((await running.ask_http(query(server, name))).json["code"])
        assert told[0] == "upstream_error"
        assert set(told) <= {"upstream_error", "circuit_open"}
        assert_is_told(await held, "every-plane")
