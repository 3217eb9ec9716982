"""Ways to one server: directly, and through a Busbar, which keeps nothing.

Each request says something else than those before it: who has read a question need not read it again.
"""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from tests.bench.components import SERVER, Components
from tests.support.fleet import Fleet, fleet
from tests.support.processes import RunningProcess, python_process
from tests.support.waiting import until

REQUEST_ID: Final = "@REQID@"
"""Where it stands in a body, each request has a number of its own."""
TEXT: Final = "x" * 64
"""Each answer holds it."""
ARGUMENTS: Final = {"text": f"{REQUEST_ID} {TEXT}"}
"""What the server is given to say again."""
JSON: Final = {"content-type": "application/json"}
MAX_IN_FLIGHT: Final = 400

_MODERN: Final = "2026-07-28"
_MODERN_HEADERS: Final = {
    **JSON,
    "accept": "application/json, text/event-stream",
    "mcp-protocol-version": _MODERN,
    "mcp-method": "tools/call",
    "mcp-name": "echo",
}
_META: Final = {
    "io.modelcontextprotocol/protocolVersion": _MODERN,
    "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


@dataclass(frozen=True, slots=True)
class Way:
    """One way to the server: what is POSTed where, and whose processor time it takes."""

    name: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    components: Components
    expected: str = TEXT
    """What a right answer holds."""


@asynccontextmanager
async def http_server(module: str = "tests.bench.echo_server") -> AsyncIterator[tuple[str, RunningProcess]]:
    """Start a server that says first where it is; yield its URL and its process."""
    async with python_process(module) as server:
        await until(lambda: server.stdout().endswith("\n"))
        yield server.stdout().strip(), server


@asynccontextmanager
async def direct_and_busbar() -> AsyncIterator[tuple[Way, Way]]:
    """Start everything; yield the direct way, and ours."""
    async with http_server() as (url, server), fleet({"echo": over_http(url)}) as running:
        yield direct(url, server.pid), query(running, "echo", components(running, server=server.pid))


def over_http(url: str) -> dict[str, Any]:
    """Return the configuration of the server at `url`."""
    return {"url": url, "max_in_flight": MAX_IN_FLIGHT, "era": "modern"}


def components(running: Fleet, *, server: int, worker: int = 0) -> Components:
    """Return the parts of the way through the fleet's worker of this index."""
    return {
        "orchestrator": running.orchestrators[0].process.pid,
        "NATS": running.nats.pid,
        "worker": running.workers[worker].process.pid,
        SERVER: server,
    }


def direct(url: str, server: int) -> Way:
    """Return the way to the server itself, in the words of 2026-07-28."""
    params = {"name": "echo", "arguments": ARGUMENTS, "_meta": _META}
    return Way("directly", url, _MODERN_HEADERS, call_body(params), {SERVER: server})


def query(
    running: Fleet,
    server: str,
    parts: Components,
    name: str = "Busbar",
    *,
    orchestrator: int = 0,
    tool: str = "echo",
    arguments: Mapping[str, Any] = ARGUMENTS,
    expected: str = TEXT,
) -> Way:
    """Return the way of `POST /v1/query`."""
    body = _body({"server": server, "tool": tool, "arguments": arguments})
    return Way(name, f"{running.urls[orchestrator]}/v1/query", JSON, body, parts, expected)


def call_body(params: Mapping[str, Any]) -> bytes:
    """Return a `tools/call`; each that is sent has an id of its own, since some gateways have one session for all."""
    return _body({"jsonrpc": "2.0", "id": REQUEST_ID, "method": "tools/call", "params": params})


def _body(document: Mapping[str, Any]) -> bytes:
    """Return its JSON, in which a request's number is one where it stands alone."""
    return json.dumps(document).replace(f'"{REQUEST_ID}"', REQUEST_ID).encode()
