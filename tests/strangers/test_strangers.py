"""Servers that nobody here wrote say through Busbar exactly what they say to whoever speaks to them directly."""

import json
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from tests.strangers import direct
from tests.strangers.direct import DirectCaller, Kind
from tests.strangers.strangers import LOOPBACK, NODE, STRANGERS, Place, Query, Stranger, furnish
from tests.support.fleet import Fleet, fleet
from tests.support.ports import free_port
from tests.support.processes import RunningProcess, listening_at, running, wait_listening
from tests.support.servers import ValkeyServer
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

MIB = 2**20
START_S = 30.0
HERE = [name for name, known in STRANGERS.items() if known.is_installed]
EDGES = ["http", "bus"]
KINDS: Sequence[Kind] = ["tool", "resource", "prompt"]


def _named(name: str) -> Any:
    missing = pytest.mark.skipif(not STRANGERS[name].is_installed, reason=f"{name}: not installed by `make strangers`")
    return pytest.param(name, marks=missing)


class Direct:
    """Callers that speak to the servers themselves, each opened when it is first wanted."""

    def __init__(self, strangers: Mapping[str, Stranger], stack: AsyncExitStack) -> None:
        """Take the servers; what is opened closes with `stack`."""
        self._strangers = strangers
        self._stack = stack
        self._callers: dict[str, DirectCaller] = {}

    async def ask(self, name: str, query: Query) -> bytes:
        """Return the bytes of the server's own result."""
        return await (await self._caller(name)).ask(query)

    async def definitions(self, name: str, kind: Kind) -> list[dict[str, Any]]:
        """Return the server's own definitions."""
        return await (await self._caller(name)).definitions(kind)

    async def _caller(self, name: str) -> DirectCaller:
        if name not in self._callers:
            stranger = self._strangers[name]
            entry = stranger.entry
            if entry.get("transport") == "sse":
                opened = direct.sse(entry["url"])
            elif "url" in entry:
                opened = direct.streamable_http(entry["url"])
            else:
                command = [entry["command"], *entry.get("args", [])]
                opened = direct.stdio(command, entry.get("env", {}), entry.get("cwd"), stranger.era)
            self._callers[name] = await self._stack.enter_async_context(opened)
        return self._callers[name]


@pytest.fixture(scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    """Files, a database and a repository to work on; a web server, and server-everything at two URLs."""
    folder = tmp_path_factory.mktemp("strangers")
    furnish(folder)
    pages, http, sse = (free_port() for _ in range(3))
    async with AsyncExitStack() as stack:
        web = ["python", "-m", "http.server", str(pages), "--bind", "127.0.0.1", "--directory", str(folder / "pages")]
        await wait_listening(await stack.enter_async_context(running(web)), pages)
        if STRANGERS["everything-http"].is_installed:
            for mode, port in (("streamableHttp", http), ("sse", sse)):
                await wait_listening(await stack.enter_async_context(_everything(mode, port)), port)
        yield Place(folder, f"http://127.0.0.1:{pages}", f"http://127.0.0.1:{http}/mcp", f"http://127.0.0.1:{sse}/sse")


@pytest.fixture(scope="module")
def strangers(place: Place) -> Mapping[str, Stranger]:
    return {name: STRANGERS[name].on(place) for name in HERE}


@pytest.fixture(scope="module")
def file(place: Place, strangers: Mapping[str, Stranger]) -> Path:
    """What a desktop client keeps of them: with keys that mean something to it, and a server that is switched off."""
    desktop = {
        "timeout": 60,
        "autoApprove": ["echo"],
        "alwaysAllow": [],
        "description": "A stranger",
        "disabled": False,
    }
    off = {"type": "stdio", "command": "/nowhere/at/all", "disabled": True}
    servers = {name: {"type": "stdio", **desktop, **stranger.entry} for name, stranger in strangers.items()}
    path = place.folder / "claude_desktop_config.json"
    path.write_text(json.dumps({"mcpServers": {**servers, "off": off}}, indent=2))
    return path


@pytest.fixture(scope="module")
async def busbar(file: Path, strangers: Mapping[str, Stranger], valkey_process: ValkeyServer) -> AsyncIterator[Fleet]:
    """All of them behind one Busbar, which has a store."""
    workers, env = dict.fromkeys(strangers, 1), {"BUSBAR_CONFIG": str(file)}
    async with fleet({}, workers=workers, env=env, store=valkey_process) as busbar:
        yield busbar


@pytest.fixture(scope="module")
async def directly(strangers: Mapping[str, Stranger]) -> AsyncIterator[Direct]:
    async with AsyncExitStack() as stack:
        yield Direct(strangers, stack)


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("name", [_named(name) for name in STRANGERS])
async def test_what_a_stranger_answers_is_what_it_says_directly(
    busbar: Fleet, directly: Direct, strangers: Mapping[str, Stranger], name: str, edge: str
) -> None:
    for query, telling in strangers[name].questions:
        said = await directly.ask(name, query)
        assert telling in said.decode(), query
        answer = await busbar.asking(edge)({"server": name, **query})
        assert (answer.status, answer.json.get("server")) == (200, name), (query, answer.body[:2000])
        assert answer.raw_result == said, query


@pytest.mark.parametrize(
    ("name", "tool"),
    [
        pytest.param("time", "get_current_time", marks=_named("time").marks),
        pytest.param("git", "git_status", marks=_named("git").marks),
    ],
)
async def test_what_changes_is_not_cached_although_its_server_says_that_it_only_reads(
    busbar: Fleet, place: Place, name: str, tool: str
) -> None:
    arguments = {"time": {"timezone": "UTC"}, "git": {"repo_path": str(place.folder / "repository")}}
    query = {"server": name, "tool": tool, "arguments": arguments[name]}
    answers = [await busbar.ask_http(query) for _ in range(2)]
    assert [(answer.status, answer.json["cache"]) for answer in answers] == [(200, "off")] * 2


@pytest.mark.parametrize("name", [_named(name) for name in STRANGERS])
async def test_what_a_stranger_offers_is_listed_in_its_own_words(
    busbar: Fleet, directly: Direct, strangers: Mapping[str, Stranger], name: str
) -> None:
    asked = {kind for query, _ in strangers[name].questions for kind in KINDS if kind in query}
    for kind in KINDS:
        answer = await busbar.get(f"/v1/{kind}s?server={name}&limit=1000")
        listed = [item[kind] for item in answer.json[f"{kind}s"]]
        assert bool(listed) == (kind in asked), f"{kind}s: each kind that the server has is asked about here"
        if listed:
            assert sorted(listed, key=_key) == sorted(await directly.definitions(name, kind), key=_key)


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("name", [_named("filesystem"), _named("sqlite")])
async def test_a_result_of_3_mb_arrives_as_it_is(
    busbar: Fleet, directly: Direct, place: Place, name: str, edge: str
) -> None:
    query = _large(place, name, "3 MB")
    said = await directly.ask(name, query)
    assert 3_000_000 <= len(said) < 4 * MIB
    answer = await busbar.asking(edge)({"server": name, **query})
    assert answer.status == 200, answer.body[:2000]
    assert answer.raw_result == said


@pytest.mark.parametrize("name", [_named("filesystem"), _named("sqlite")])
async def test_a_result_of_15_mb_arrives_as_it_is(busbar: Fleet, directly: Direct, place: Place, name: str) -> None:
    query = _large(place, name, "15 MB")
    said = await directly.ask(name, query)
    assert 15_000_000 <= len(said) < 16 * MIB
    answer = await busbar.ask_http({"server": name, **query})
    assert answer.status == 200, answer.body[:2000]
    assert answer.raw_result == said


@pytest.mark.parametrize("name", [_named("filesystem"), _named("sqlite")])
async def test_a_result_that_no_message_of_the_callers_bus_can_hold_is_said_to_be_too_large(
    busbar: Fleet, place: Place, name: str
) -> None:
    answer = await busbar.ask_bus({"server": name, **_large(place, name, "15 MB")})
    assert (answer.status, answer.json["code"], answer.json["executed"]) == (502, "result_too_large", "maybe")


async def test_busbar_up_runs_the_file_of_a_desktop_client_as_it_is(
    file: Path, strangers: Mapping[str, Stranger], tmp_path: Path
) -> None:
    options = ["--json", "--state-dir", str(tmp_path), "--config", str(file)]
    ports = [f"--{name}-port=0" for name in ("orchestrator", "health", "admin", "nats", "redis")]
    async with running([sys.executable, "-m", "services.cli", "up", *options, *ports]) as up:
        await until(lambda: up.returncode is not None or up.stdout().endswith("\n"), timeout_s=START_S)
        assert up.returncode is None, up.stderr()
        told = json.loads(up.stdout())
        key = {"authorization": f"Bearer {told['keys']['query']}"}
        url = told["orchestrators"][0]
        async with httpx.AsyncClient(base_url=url, headers=key, timeout=START_S, trust_env=False) as client:
            with anyio.fail_after(START_S):
                while (served := await _servers(client)) != dict.fromkeys(strangers, "connected"):
                    assert served.keys() == strangers.keys()
                    await anyio.sleep(0.1)
            for name, stranger in strangers.items():
                query, telling = stranger.questions[0]
                answer = await client.post("/v1/query", json={"server": name, **query})
                assert (answer.status_code, telling in answer.text) == (200, True), (query, answer.text[:2000])
        assert await up.terminate(timeout_s=START_S) == 0
        assert up.leftovers() == []


@pytest.mark.parametrize("mode", ["streamableHttp", "sse"])
@pytest.mark.skipif(not STRANGERS["everything-http"].is_installed, reason="not installed by `make strangers`")
async def test_a_server_that_would_listen_everywhere_is_kept_on_loopback(mode: str) -> None:
    port = free_port()
    async with _everything(mode, port) as process:
        await wait_listening(process, port)
        assert listening_at(process.pid) == {("127.0.0.1", port)}


@asynccontextmanager
async def _everything(mode: str, port: int) -> AsyncIterator[RunningProcess]:
    program = NODE / "node_modules/@modelcontextprotocol/server-everything/dist/index.js"
    async with running(["node", "--require", str(LOOPBACK), str(program), mode], env={"PORT": str(port)}) as process:
        yield process


async def _servers(client: httpx.AsyncClient) -> dict[str, str]:
    return {server["name"]: server["status"] for server in (await client.get("/v1/servers")).json()["servers"]}


def _key(definition: Mapping[str, Any]) -> str:
    return str(definition.get("uri") or definition["name"])


def _large(place: Place, name: str, size: str) -> Query:
    if name == "filesystem":
        return {"tool": "read_text_file", "arguments": {"path": str(place.folder / "files" / f"{size}.txt")}}
    zeros = {"3 MB": 1_500_000, "15 MB": 7_500_000}[size]
    return {"tool": "read_query", "arguments": {"query": f"SELECT hex(zeroblob({zeros})) AS zeros"}}
