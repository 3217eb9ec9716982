"""What nobody outside may see stays inside: planted secrets are looked for in everything that leaves the processes."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from nats.aio.msg import Msg

from tests.support.fleet import Fleet, fleet, ledger_server, record
from tests.support.mcp_servers.raw_http import RawServer, Request, raw_server
from tests.support.ports import free_port
from tests.support.servers import nats_server
from tests.support.waiting import until
from tests.support.warm_start import cold_starts

pytestmark = pytest.mark.anyio

_OWN_WORD = "the-servers-own-word"
_BAD_TOOLS = ("explode", "page", "cut", "status")
_PATHS = (
    *("/livez", "/readyz", "/metrics", "/openapi.json", "/docs", "/redoc", "/health", "/health/mcp", "/nothing"),
    *("/v1/servers", "/v1/tools", "/v1/tools?limit=1", "/v1/tools?cursor=x&limit=0", "/v1/resources", "/v1/prompts"),
)


class Secrets:
    """Unique words, by where they are planted; a look at all of them at once."""

    def __init__(self) -> None:
        self.words: dict[str, str] = {}

    def plant(self, where: str) -> str:
        """Return a new secret for a place."""
        word = f"planted{secrets.token_hex(8)}"
        self.words[where] = word
        return word

    def know(self, where: str, word: str) -> None:
        """Look for `word` too."""
        self.words[where] = word

    def found_in(self, text: str) -> list[str]:
        """The places whose secret stands in `text`."""
        return [where for where, word in self.words.items() if word in text]


@pytest.fixture(scope="module")
def planted() -> Secrets:
    return Secrets()


@pytest.fixture(scope="module")
async def web(planted: Secrets) -> AsyncIterator[RawServer]:
    exception = planted.plant("an exception in the server")

    async def serve(request: Request, _: asyncio.StreamReader) -> None:
        if request.json["method"] == "tools/list":
            tools = [{"name": name, "inputSchema": {"type": "object"}} for name in (*_BAD_TOOLS, "fine")]
            await request.result(json.dumps({"tools": tools}).encode())
            return
        match request.json.get("params", {}).get("name"):
            case "fine":
                await request.result(json.dumps({"content": [], "said": _OWN_WORD}).encode())
            case "explode":
                await request.answer(f"Traceback: RuntimeError('{exception}')".encode(), status=500, kind="text/plain")
            case "page":
                await request.answer(f"<html>{exception}</html>".encode(), kind="text/html")
            case "status":
                await request.answer(
                    f'{{"detail":"{exception}"}}'.encode(), status=503, headers=f"x-backend: {exception}\r\n"
                )
            case _:
                request.writer.close()

    async with raw_server(serve) as server:
        yield server


@pytest.fixture(scope="module")
async def running(planted: Secrets, web: RawServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    crash = f"raise RuntimeError('{planted.plant('the exception of a server that cannot start')}')"
    ledger = tmp_path_factory.mktemp("leaks") / f"{planted.plant('an argument of a command')}.jsonl"
    planted.know("the host of a server", "127.77.66.55")
    config: dict[str, Any] = {
        "web": {
            "url": f"{web.url}/{planted.plant('the path of a URL')}?token={planted.plant('the query of a URL')}",
            "headers": {"authorization": f"Bearer {planted.plant('a header of a server')}"},
        },
        "local": {**ledger_server(ledger), "env": {"API_TOKEN": planted.plant("the environment of a server")}},
        "refusing": {
            "url": f"http://user:{planted.plant('the password of a URL')}@127.77.66.55:{free_port()}"
            f"/{planted.plant('the path of a URL that refuses')}",
        },
        "crashing": {"command": ["python", "-c", crash], "env": {"TOKEN": planted.plant("the environment, crashing")}},
        "missing": {"command": [f"/nowhere/{planted.plant('a command that is not there')}"]},
    }
    password = planted.plant("the password of NATS")
    with cold_starts():  # the arguments of processes are looked at
        async with (
            nats_server(password=password) as bus,
            fleet(config, workers={"web": 1, "local": 1}, keys={"operator": {"scopes": ["admin"]}}, bus=bus) as running,
        ):
            for key_id, text in running.keys.items():
                planted.know(f"the key {key_id}", text)
            yield running


class Seen:
    """Everything that left, with where it was seen."""

    def __init__(self) -> None:
        self.texts: list[tuple[str, str]] = []

    def answer(self, where: str, status: int, headers: Any, body: bytes) -> int:
        """Keep one answer."""
        self.texts.append((where, f"{status} {dict(headers)} {body.decode(errors='replace')}"))
        return status


async def _fault(client: httpx.AsyncClient, port: int) -> str:
    try:
        response = await client.get(f"http://127.0.0.1:{port}/readyz")
    except httpx.HTTPError:
        return ""
    return str(response.json().get("reason", ""))


async def test_no_secret_leaves_in_an_answer_a_header_a_metric_a_log_line_or_a_message(
    running: Fleet, planted: Secrets
) -> None:
    seen = Seen()
    spoken = planted.plant("an argument of a query")
    messages: list[Msg] = []
    bus = await running.bus()

    async def listen(message: Msg) -> None:
        messages.append(message)

    await bus.subscribe(">", cb=listen)
    ports = await _start_failing_workers(running)
    told = await _ask_everything(running, seen, spoken)
    assert {200, 400, 401, 403, 404, 422, 502, 503, 504} <= told
    for port in ports.values():
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            for path in ("/livez", "/readyz", "/metrics", "/openapi.json", "/docs", "/nothing"):
                response = await client.get(path)
                seen.answer(f"worker {path}", response.status_code, response.headers, response.content)

    for where, text in seen.texts:
        assert not planted.found_in(text), (where, planted.found_in(text))
    assert any(_OWN_WORD in text for _, text in seen.texts)

    # Messages may carry the caller's own words; connections never.
    for message in messages:
        carried = f"{message.subject} {message.headers} {message.data.decode(errors='replace')}"
        carried = carried.replace(spoken, "").replace(running.keys["fleet"], "")
        assert not planted.found_in(carried), (message.subject, planted.found_in(carried))
    assert any(message.subject.startswith("mcp.v1.call.web.") for message in messages)
    assert any(message.subject.startswith("mcp.v1.event.worker.crashing.") for message in messages)

    logs = running.logs()
    assert not planted.found_in(logs), planted.found_in(logs)
    assert logs.count('"event": "worker started"') == len(running.workers)


async def test_no_secret_stands_in_the_arguments_of_a_process_of_ours(running: Fleet, planted: Secrets) -> None:
    processes = [one.process for one in running.orchestrators] + [one.process for one in running.workers]
    checked = 0
    for process in processes:
        for one in (psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)):
            try:
                arguments = one.cmdline()
            except psutil.Error:
                continue
            if "-m" in arguments and arguments[arguments.index("-m") + 1].startswith("services."):
                checked += 1
                assert not planted.found_in(" ".join(arguments)), arguments
    assert checked >= len(processes)


async def test_what_a_servers_process_writes_is_kept_for_the_operator_alone(running: Fleet, planted: Secrets) -> None:
    word = planted.words["the exception of a server that cannot start"]
    logs = Path(running.env["BUSBAR_STATE_DIR"]) / "servers"
    await until(lambda: any(word in path.read_text() for path in logs.glob("crashing.*")))
    assert {path.stat().st_mode & 0o777 for path in logs.iterdir()} == {0o600}
    assert logs.stat().st_mode & 0o777 == 0o700


async def _start_failing_workers(running: Fleet) -> dict[str, int]:
    """Start workers whose servers cannot be reached; return their HTTP ports once each has failed."""
    ports = {server: free_port() for server in ("refusing", "crashing", "missing")}
    for server, port in ports.items():
        await running.start_worker(server, env={"BUSBAR_METRICS_PORT": str(port)})
    async with httpx.AsyncClient(timeout=2, trust_env=False) as client:
        faults = dict.fromkeys(ports, "")

        async def all_failed() -> bool:
            for server, port in ports.items():
                faults[server] = await _fault(client, port)
            return all(fault not in {"", "unavailable"} for fault in faults.values())

        async with asyncio.timeout(20):
            while not await all_failed():
                await asyncio.sleep(0.05)
    assert faults["refusing"] == "Connection refused"
    return ports


async def _ask_everything(running: Fleet, seen: Seen, spoken: str) -> set[int]:
    """Ask good and bad queries over both edges, and get every page; return the statuses that came."""
    queries: list[Any] = [
        {"server": "web", "tool": "fine", "arguments": {"said": spoken}},
        *({"server": "web", "tool": tool, "arguments": {"said": spoken}} for tool in _BAD_TOOLS),
        *({"server": server, "tool": "any"} for server in ("refusing", "crashing", "missing", "nobody")),
        {"server": "web", "resource": "x://y"},
        {"server": "local", "tool": "nothing"},
        {"server": "local", "tool": "record", "arguments": {"id": 7, "said": spoken}},
        {"server": "local", "prompt": "nothing"},
        record("local"),
        {**record("local", fail="hang"), "timeout_ms": 200},
        record("local", fail="jsonrpc"),
        record("local", fail="error"),
        b'{"server": "web", "arguments": {"said": "%s"' % spoken.encode(),
        b'{"server": "web", "cache": "%s"}' % spoken.encode(),
        record("local", fail="exit"),
    ]
    statuses = set()
    for query in queries:
        for edge in ("http", "bus"):
            answer = await running.asking(edge)(query)
            statuses.add(seen.answer(f"{query!r} over {edge}", answer.status, answer.headers, answer.body))
    for key in ("operator", None):
        answer = await running.ask_http(record("local"), key=key)
        statuses.add(seen.answer(f"key {key}", answer.status, answer.headers, answer.body))
    bad = await running.ask_bus(record("local"), key=None, headers={"authorization": "Bearer nonsense"})
    statuses.add(seen.answer("a bad key", bad.status, bad.headers, bad.body))
    for path in _PATHS:
        for key in ("fleet", None):
            page = await running.get(path, key=key)
            statuses.add(seen.answer(path, page.status, page.headers, page.body))
    return statuses
