"""Every row of SPEC §3's error table, over HTTP and over the bus: one table of rows, run on both edges."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from bus_schemas.errors import ERRORS, OF_ADMIN, ErrorCode
from bus_schemas.queries import MAX_BODY_BYTES
from tests.support.fleet import Answered, Fleet, fleet, ledger_server, python_server, record
from tests.support.ledger_server import JSONRPC_ERROR_CODE
from tests.support.mcp_servers.raw_http import RawServer, Request, raw_server
from tests.support.records import read_ledger
from tests.support.servers import nats_server
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

Edge = Literal["http", "bus"]
EDGES: tuple[Edge, ...] = ("http", "bus")

REFUSAL = b'{"code":-32099, "message":"no \xc3\xbc","data":{"x":[1.0,10000000000000000000000]},"vendor":true}'
_BROKEN_TOOLS = ("cut", "garbage", "status", "other_id", "no_object", "refuse")
_ELSEWHERE = {  # each provoked in a test of its own: breakers, maintenance, idempotency, tokens, plain HTTP
    ErrorCode.CIRCUIT_OPEN,
    ErrorCode.MAINTENANCE,
    ErrorCode.IDEMPOTENCY_CONFLICT,
    ErrorCode.IDEMPOTENCY_UNAVAILABLE,
    ErrorCode.ISSUER_UNAVAILABLE,
    ErrorCode.TOOL_ERROR,
    ErrorCode.INTERNAL,
}
"""What only later issues can provoke, what needs a store (test_idempotency.py), and the bug that nobody should be able
to."""
_STATUSES = {
    400: {"invalid_json"},
    401: {"unauthorized"},
    403: {"forbidden"},
    404: {"server_not_found", "tool_not_found", "prompt_not_found", "not_found"},
    405: {"method_not_allowed"},
    413: {"payload_too_large"},
    415: {"unsupported_media_type"},
    421: {"misdirected_request"},
    422: {"invalid_request", "invalid_arguments", "ambiguous_tool"},
    429: {"rate_limited"},
    502: {"upstream_refused", "upstream_error", "result_too_large"},
    503: {"overloaded", "server_unavailable"},
    504: {"timeout"},
}
_OF_PATHS = {ErrorCode.NOT_FOUND, ErrorCode.METHOD_NOT_ALLOWED, ErrorCode.MISDIRECTED_REQUEST}


@dataclass(frozen=True, slots=True)
class Row:
    """One way to fail, and what is told of it."""

    name: str
    query: Mapping[str, Any] | bytes
    code: ErrorCode
    retryable: bool = False
    executed: Literal["no", "maybe"] = "no"
    key: str | None = "fleet"
    headers: Mapping[str, str] = field(default_factory=dict)
    edges: tuple[Edge, ...] = EDGES
    errors: list[dict[str, str]] | None = None
    mcp_error: bytes | None = None
    retry_after: str = "1"
    repeat: int = 1
    """How often it is asked; the last answer counts. `{edge}` in the key's name is the edge."""


def _broken(tool: str) -> dict[str, Any]:
    return {"server": "broken", "tool": tool}


_INVALID_JSON, _UNAUTHORIZED, _FORBIDDEN = ErrorCode.INVALID_JSON, ErrorCode.UNAUTHORIZED, ErrorCode.FORBIDDEN
_TIMEOUT, _BROKE = ErrorCode.TIMEOUT, ErrorCode.UPSTREAM_ERROR

ROWS = [
    Row("nothing", b"", _INVALID_JSON),
    Row("no JSON", b"{'tool': 'record'}", _INVALID_JSON),
    Row("duplicate keys", b'{"tool":"record","arguments":{"id":"1","id":"2"}}', _INVALID_JSON),
    Row("NaN", b'{"tool":"record","arguments":{"id":NaN}}', _INVALID_JSON),
    Row("a lone surrogate", b'{"tool":"record","arguments":{"id":"\\ud800"}}', _INVALID_JSON),
    Row("deep nesting", b'{"tool":"record","arguments":{"id":' + b"[" * 64 + b"]" * 64 + b"}}", _INVALID_JSON),
    Row("a large body", b'{"tool":"%s"}' % (b"x" * MAX_BODY_BYTES), ErrorCode.PAYLOAD_TOO_LARGE),
    Row(
        "another media type",
        record("ledger"),
        ErrorCode.UNSUPPORTED_MEDIA_TYPE,
        headers={"content-type": "text/plain"},
        edges=("http",),
    ),
    Row(
        "an unknown field",
        {"server": "ledger", "tool": "record", "colour": 1},
        ErrorCode.INVALID_REQUEST,
        errors=[{"pointer": "/colour", "keyword": "additionalProperties"}],
    ),
    Row(
        "a malformed field",
        {"server": "a__b", "tool": "record", "timeout_ms": True},
        ErrorCode.INVALID_REQUEST,
        errors=[{"pointer": "/server", "keyword": "pattern"}, {"pointer": "/timeout_ms", "keyword": "type"}],
    ),
    Row("no target", {"server": "ledger"}, ErrorCode.INVALID_REQUEST, errors=[{"pointer": "", "keyword": "oneOf"}]),
    Row(
        "arguments of the wrong type",
        {"server": "ledger", "tool": "record", "arguments": {"id": 5}},
        ErrorCode.INVALID_ARGUMENTS,
        errors=[{"pointer": "/arguments/id", "keyword": "type"}],
    ),
    Row(
        "missing arguments",
        {"server": "ledger", "tool": "record"},
        ErrorCode.INVALID_ARGUMENTS,
        errors=[{"pointer": "/arguments", "keyword": "required"}],
    ),
    Row("a tool of two unrelated servers", record(), ErrorCode.AMBIGUOUS_TOOL),
    Row("a bad key", record("ledger"), _UNAUTHORIZED, key=None, headers={"authorization": "Bearer bb_x_nonsense"}),
    Row("another scheme", record("ledger"), _UNAUTHORIZED, key=None, headers={"authorization": "Basic eDp5"}),
    Row("no key", record("ledger"), _UNAUTHORIZED, key=None, edges=("http",)),
    Row("a key without the scope", record("ledger"), _FORBIDDEN, key="operator"),
    Row("a key without the server", {"server": "fixture", "tool": "echo"}, _FORBIDDEN, key="narrow"),
    Row("a key without the tool", {"server": "ledger", "tool": "record_idempotent"}, _FORBIDDEN, key="narrow"),
    Row("an unknown server", record("nobody"), ErrorCode.SERVER_NOT_FOUND),
    Row("an unknown tool", {"server": "ledger", "tool": "nothing"}, ErrorCode.TOOL_NOT_FOUND),
    Row("an unknown tool of nobody", {"tool": "nothing"}, ErrorCode.TOOL_NOT_FOUND),
    Row("an unknown prompt", {"server": "fixture", "prompt": "nothing"}, ErrorCode.PROMPT_NOT_FOUND),
    Row("an unknown prompt of nobody", {"prompt": "nothing"}, ErrorCode.PROMPT_NOT_FOUND),
    Row(
        "a caller over its rate",
        record("ledger"),
        ErrorCode.RATE_LIMITED,
        retryable=True,
        key="rare-{edge}",
        repeat=2,
        retry_after="100",
    ),
    Row("a server without a worker", record("absent"), ErrorCode.SERVER_UNAVAILABLE, retryable=True),
    Row("no time at all", {**record("ledger"), "timeout_ms": 1}, _TIMEOUT, retryable=True),
    Row("the deadline", {**record("ledger", fail="hang"), "timeout_ms": 300}, _TIMEOUT, executed="maybe"),
    Row(
        "the deadline of an idempotent tool",
        {"server": "ledger", "tool": "record_idempotent", "arguments": {"id": "i", "fail": "hang"}, "timeout_ms": 300},
        _TIMEOUT,
        executed="maybe",
        retryable=True,
    ),
    Row("the server's own limit", record("narrow", fail="hang"), _TIMEOUT, executed="maybe"),
    Row(
        "a JSON-RPC error of an SDK server",
        record("ledger", id="refused", fail="jsonrpc"),
        ErrorCode.UPSTREAM_REFUSED,
        executed="maybe",
        mcp_error=b'{"code":%d,"message":"asked to fail","data":{"id":"refused"}}' % JSONRPC_ERROR_CODE,
    ),
    Row(
        "an odd JSON-RPC error, byte for byte",
        _broken("refuse"),
        ErrorCode.UPSTREAM_REFUSED,
        executed="maybe",
        mcp_error=REFUSAL,
    ),
    Row(
        "a resource that is not listed is asked for",
        {"server": "fixture", "resource": "nothing://here"},
        ErrorCode.UPSTREAM_REFUSED,
        executed="maybe",
    ),
    *(Row(f"a server that breaks: {tool}", _broken(tool), _BROKE, executed="maybe") for tool in _BROKEN_TOOLS[:-1]),
    Row(
        "a server process that dies",
        {"server": "mortal", "tool": "crash"},
        _BROKE,
        executed="maybe",
        edges=("http",),
    ),
    Row(
        "a large result",
        {"server": "fixture", "tool": "fill", "arguments": {"size": 10 * 2**20}},
        ErrorCode.RESULT_TOO_LARGE,
        executed="maybe",
    ),
]


async def _break(request: Request, _: asyncio.StreamReader) -> None:
    """A server that lists its tools and breaks the protocol in each."""
    if request.json["method"] == "tools/list":
        tools = [{"name": name, "inputSchema": {"type": "object"}} for name in _BROKEN_TOOLS]
        await request.result(json.dumps({"tools": tools, "resultType": "complete"}).encode())
        return
    match request.json["params"]["name"]:
        case "cut":
            request.writer.close()
        case "garbage":
            await request.answer(b"<html>secret of the server</html>", kind="text/html")
        case "status":
            await request.answer(b"secret of the server", status=500, kind="text/plain")
        case "other_id":
            await request.answer(b'{"jsonrpc":"2.0","id":"other","result":{}}')
        case "no_object":
            await request.result(b"[1]")
        case _:
            await request.error(200, REFUSAL)


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("error-table") / "ledger.jsonl"


@pytest.fixture(scope="module")
async def broken() -> AsyncIterator[RawServer]:
    async with raw_server(_break) as server:
        yield server


@pytest.fixture(scope="module")
async def running(ledger: Path, broken: RawServer) -> AsyncIterator[Fleet]:
    config = {
        "ledger": ledger_server(ledger, tools={"record_idempotent": {"idempotent": True}}),
        "narrow": ledger_server(ledger, max_in_flight=1, timeout_s=2.0),
        "fixture": python_server("tests.support.mcp_servers.sdk_server"),
        "mortal": python_server("tests.support.mcp_servers.sdk_server"),
        "broken": {"url": broken.url},
        "absent": {"url": "http://127.0.0.1:1/mcp"},
    }
    keys: dict[str, dict[str, Any]] = {
        "operator": {"scopes": ["admin"]},
        "narrow": {"servers": ["ledger"], "tools": ["record"]},
        "rare-http": {"rate_per_s": 0.01},
        "rare-bus": {"rate_per_s": 0.01},
    }
    workers = dict.fromkeys(config.keys() - {"absent"}, 1)
    # One row after another breaks the same server: its breaker lets the next one through as a probe.
    env = {"BUSBAR_LONGEST_LINE": "0", "BUSBAR_BREAKER_OPEN_S": "0.001"}
    async with fleet(config, workers=workers, keys=keys, env=env) as running:
        yield running


@pytest.mark.parametrize(
    ("row", "edge"),
    [pytest.param(row, edge, id=f"{row.name} over {edge}") for row in ROWS for edge in row.edges],
)
async def test_each_failure_is_told_as_the_table_says(running: Fleet, row: Row, edge: Edge) -> None:
    key = None if row.key is None else row.key.format(edge=edge)
    for _ in range(row.repeat):
        answer = await running.asking(edge)(row.query, key=key, headers=row.headers)
    _check(answer, row)


@pytest.mark.parametrize("edge", EDGES)
async def test_a_worker_without_a_free_slot_is_overloaded(running: Fleet, ledger: Path, edge: Edge) -> None:
    query = record("narrow", fail="hang")
    holding = asyncio.create_task(running.ask_http(query))
    try:
        await until(lambda: any(line.id == query["arguments"]["id"] for line in read_ledger(ledger)))
        answer = await running.asking(edge)(record("narrow"))
        _check(answer, Row("overloaded", b"", ErrorCode.OVERLOADED, retryable=True))
    finally:
        holding.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await holding
    # The caller that hung up gives its slot back.
    await until(
        lambda: any((line.id, line.event) == (query["arguments"]["id"], "cancelled") for line in read_ledger(ledger))
    )


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/nothing/here", ErrorCode.NOT_FOUND),
        ("GET", "/v1/query/", ErrorCode.NOT_FOUND),
        ("GET", "/v1/query", ErrorCode.METHOD_NOT_ALLOWED),
        ("DELETE", "/v1/servers", ErrorCode.METHOD_NOT_ALLOWED),
    ],
)
async def test_unknown_paths_and_methods_are_problems_too(
    running: Fleet, method: str, path: str, code: ErrorCode
) -> None:
    response = await running.orchestrators[0].http.request(method, path)
    _check(Answered(response.status_code, dict(response.headers), response.content), Row("path", b"", code))


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"host": "evil.example"}, ErrorCode.MISDIRECTED_REQUEST),
        ({"origin": "https://evil.example"}, ErrorCode.FORBIDDEN),
        ({"origin": "null"}, ErrorCode.FORBIDDEN),
    ],
)
async def test_a_foreign_host_or_origin_is_refused(running: Fleet, headers: dict[str, str], code: ErrorCode) -> None:
    answer = await running.ask_http(record("ledger"), headers=headers)
    _check(answer, Row("foreign", b"", code))


@pytest.mark.parametrize("edge", EDGES)
async def test_whatever_the_trace_headers_hold_the_query_is_answered(running: Fleet, edge: Edge) -> None:
    for value in ("nonsense", "0" * 50_000, "ü", "00-" + "a" * 32 + "-" + "b" * 16 + "-01"):
        headers = {"traceparent": value, "tracestate": value}
        answer = await running.asking(edge)(record("ledger"), headers=headers)
        assert answer.status == 200, answer.body


async def test_the_table_holds_every_code_that_needs_no_test_of_its_own() -> None:
    told = {row.code for row in ROWS} | {ErrorCode.OVERLOADED}
    assert told == set(ErrorCode) - _ELSEWHERE - _OF_PATHS - OF_ADMIN


async def test_without_a_bus_nothing_was_executed(tmp_path: Path) -> None:
    async with (
        nats_server() as bus,
        fleet({"ledger": ledger_server(tmp_path / "ledger.jsonl")}, bus=bus) as running,
    ):
        assert (await running.ask_http(record("ledger"))).status == 200
        await bus.kill()
        answer = await running.ask_http(record("ledger"))
        _check(answer, Row("no bus", b"", ErrorCode.SERVER_UNAVAILABLE, retryable=True))
        assert (await running.get("/livez")).status == 200
        assert (await running.get("/readyz")).status == 503


def _check(answer: Answered, row: Row) -> None:
    meaning = ERRORS[row.code]
    [status] = [status for status, codes in _STATUSES.items() if row.code in codes]
    problem = answer.json
    assert (answer.status, problem["code"]) == (status, row.code), problem
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem.pop("id")
    assert problem == {
        "type": f"urn:busbar:error:{row.code}",
        "title": meaning.title,
        "status": status,
        "detail": meaning.detail,
        "code": row.code.value,
        "retryable": row.retryable,
        "executed": row.executed,
        **({} if "errors" not in problem else {"errors": row.errors}),
        **({} if "mcp_error" not in problem else {"mcp_error": problem["mcp_error"]}),
    }
    assert ("errors" in problem) == (row.code in {ErrorCode.INVALID_REQUEST, ErrorCode.INVALID_ARGUMENTS})
    assert ("mcp_error" in problem) == (row.code is ErrorCode.UPSTREAM_REFUSED)
    if row.mcp_error is not None:
        assert b'"mcp_error":' + row.mcp_error in answer.body
    assert answer.headers.get("retry-after") == (row.retry_after if status in {429, 503} else None)
    assert ("www-authenticate" in answer.headers) == (status == 401)
