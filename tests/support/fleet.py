"""A whole Busbar for tests: orchestrators and workers as real processes, on a real bus, before real MCP servers."""

import json
import tempfile
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import httpx
import nats
import orjson
from nats.aio.client import Client

from services.runtime.auth.keys import add_key
from tests.support.ports import free_port
from tests.support.processes import REPOSITORY, ProcessDiedError, RunningProcess, python_process, wait_ready
from tests.support.servers import NatsServer, ValkeyServer, nats_server

OWN_KEY = "fleet"
"""The id of the key with which a fleet that has keys asks, where the test names no other."""

_POLL_S = 0.02
_START_S = 30.0
_TIMEOUT_S = 40.0

Query = Mapping[str, Any] | bytes


@dataclass(frozen=True, slots=True)
class Answered:
    """What a caller got, over either edge."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def json(self) -> Any:
        """The body's JSON."""
        return orjson.loads(self.body)

    @property
    def raw_result(self) -> bytes:
        """The bytes of the answer's `result`, its last member."""
        return self.body.partition(b'"result":')[2][:-1]


@dataclass(frozen=True, slots=True)
class Orchestrator:
    """One orchestrator process and an HTTP client for it."""

    process: RunningProcess
    url: str
    http: httpx.AsyncClient


@dataclass(frozen=True, slots=True)
class Worker:
    """One worker process."""

    server: str
    version: str
    process: RunningProcess


@dataclass(slots=True)
class Fleet:
    """What runs. Made by `fleet()`."""

    nats: NatsServer
    folder: Path
    config: Mapping[str, Mapping[str, Any]]
    keys: Mapping[str, str]
    """The texts of the keys, by id."""
    env: Mapping[str, str]
    store_env: Mapping[str, str]
    """What a process needs beside `env` to find the store: the orchestrators have it; empty without a store."""
    _stack: AsyncExitStack
    orchestrators: list[Orchestrator] = field(default_factory=list)
    workers: list[Worker] = field(default_factory=list)
    _client: Client | None = None

    @property
    def urls(self) -> list[str]:
        """Where the orchestrators are."""
        return [orchestrator.url for orchestrator in self.orchestrators]

    async def ask_http(
        self,
        query: Query,
        *,
        key: str | None = OWN_KEY,
        headers: Mapping[str, str] | None = None,
        orchestrator: int = 0,
    ) -> Answered:
        """POST a query; `key` is an id of `keys`, None sends no key, nor does a fleet without keys."""
        sent = {"content-type": "application/json", **self._authorization(key), **(headers or {})}
        response = await self.orchestrators[orchestrator].http.post(
            "/v1/query",
            content=_body(query),
            headers={name.encode(): value.encode() for name, value in sent.items()},
        )
        return Answered(response.status_code, dict(response.headers), response.content)

    async def ask_bus(
        self, query: Query, *, key: str | None = OWN_KEY, headers: Mapping[str, str] | None = None
    ) -> Answered:
        """Request `mcp.v1.query` as a stranger's client does."""
        client = await self.bus()
        reply = await client.request(
            "mcp.v1.query",
            _body(query),
            timeout=_TIMEOUT_S,
            headers={**self._authorization(key), **(headers or {})} or None,
        )
        told = {name.lower(): value for name, value in (reply.headers or {}).items()}
        return Answered(int(told["mcp-status"]), told, reply.data)

    def asking(self, edge: str) -> Callable[..., Awaitable[Answered]]:
        """`ask_http` or `ask_bus`, by the edge's name: "http" or "bus"."""
        return {"http": self.ask_http, "bus": self.ask_bus}[edge]

    async def get(self, path: str, *, key: str | None = OWN_KEY, orchestrator: int = 0) -> Answered:
        """GET a path of an orchestrator."""
        response = await self.orchestrators[orchestrator].http.get(path, headers=self._authorization(key))
        return Answered(response.status_code, dict(response.headers), response.content)

    async def bus(self) -> Client:
        """A plain nats-py client, connected once for all."""
        if self._client is None:
            self._client = await nats.connect(self.nats.url)
            self._stack.push_async_callback(self._client.close)
        return self._client

    async def start_orchestrators(self, count: int = 1, *, env: Mapping[str, str] | None = None) -> None:
        """Start so many more, and return when they are ready."""
        started: list[Orchestrator] = []
        for _ in range(count):
            port = free_port()
            process = await self.start_process(
                "services.orchestrator",
                env={"BUSBAR_ORCHESTRATOR_PORT": str(port), **self.store_env, **(env or {})},
            )
            url = f"http://127.0.0.1:{port}"
            http = await self._stack.enter_async_context(
                httpx.AsyncClient(base_url=url, timeout=_TIMEOUT_S, trust_env=False)
            )
            started.append(Orchestrator(process, url, http))
        self.orchestrators += started
        for orchestrator in started:
            await wait_ready(orchestrator.process, f"{orchestrator.url}/readyz")

    async def start_worker(
        self,
        server: str,
        *,
        version: str | None = None,
        url: str | None = None,
        command: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
    ) -> Worker:
        """Start one more worker; `wait_connected()` afterwards, if the test needs it."""
        arguments = ["--version", version] if version else []
        arguments += ["--url", url] if url else []
        arguments += [server, "--", *command] if command else [server]
        process = await self.start_process("services.worker", *arguments, env=env or {})
        configured = str(self.config.get(server, {}).get("version", "0.0.0"))
        worker = Worker(server, version or configured, process)
        self.workers.append(worker)
        return worker

    async def wait_connected(self, *, timeout_s: float = _START_S) -> None:
        """Return when each orchestrator sees every running worker serving, and nobody else.

        Raises:
            ProcessDiedError: a worker failed instead.
            TimeoutError: they were not all connected within `timeout_s` seconds.
        """
        with anyio.fail_after(timeout_s):
            for index in range(len(self.orchestrators)):
                while await self._instances(index) != self._expected():
                    await anyio.sleep(_POLL_S)

    def logs(self) -> str:
        """What all orchestrators and workers have said on both streams."""
        processes = [*(one.process for one in self.orchestrators), *(one.process for one in self.workers)]
        return "".join(process.stdout() + process.stderr() for process in processes)

    def _expected(self) -> dict[tuple[str, str], int]:
        expected: dict[tuple[str, str], int] = {}
        for worker in self.workers:
            if (worker.process.returncode or 0) > 0:
                raise ProcessDiedError(worker.process.stderr()[-4000:])
            if worker.process.returncode is None:
                key = (worker.server, worker.version)
                expected[key] = expected.get(key, 0) + 1
        return expected

    async def _instances(self, orchestrator: int) -> dict[tuple[str, str], int]:
        answer = await self.get("/v1/servers", orchestrator=orchestrator)
        return {
            (server["name"], version["version"]): version["instances"]
            for server in answer.json["servers"]
            for version in server["versions"]
        }

    def _authorization(self, key: str | None) -> dict[str, str]:
        return {"authorization": f"Bearer {self.keys[key]}"} if key is not None and self.keys else {}

    async def start_process(self, module: str, *arguments: str, env: Mapping[str, str] | None = None) -> RunningProcess:
        """Start `python -m module` with the fleet's environment."""
        return await self._stack.enter_async_context(
            python_process(module, *arguments, env={**self.env, **(env or {})})
        )


@asynccontextmanager
async def fleet(
    config: Mapping[str, Mapping[str, Any]],
    *,
    orchestrators: int = 1,
    workers: Mapping[str, int] | None = None,
    keys: Mapping[str, Mapping[str, Any]] | None = None,
    env: Mapping[str, str] | None = None,
    bus: NatsServer | None = None,
    store: ValkeyServer | None = None,
) -> AsyncIterator[Fleet]:
    """Run a fleet; entered when every orchestrator sees every worker connected, ended by the ids of its processes.

    Args:
        config: the `servers` of busbar.yaml.
        orchestrators: how many.
        workers: how many of each server, `server@version` for another version than the configured one; by default
            one of each server of `config`.
        keys: keyword arguments of `add_key` by key id. Beside them the fleet has a key of its own, `OWN_KEY`, with
            all rights. None: there is no keys file, and callers are anonymous.
        env: more environment variables of all processes.
        bus: a NATS server that the test may break; by default the fleet has one of its own.
        store: a Valkey server for the orchestrators, which the test may break; None: there is no store.
    """
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="busbar-fleet-")))
        if bus is None:
            bus = await stack.enter_async_context(nats_server())
        path = folder / "busbar.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps({"servers": config}))
        variables = {
            "BUSBAR_CONFIG": str(path),
            "BUSBAR_NATS_URL": bus.url,
            "BUSBAR_STATE_DIR": str(folder / "state"),
            "BUSBAR_ANNOUNCE_S": "0.2",
        }
        texts: dict[str, str] = {}
        if keys is not None:
            keys_file = folder / "keys.jsonl"
            texts = {key_id: add_key(keys_file, key_id, **rights) for key_id, rights in {OWN_KEY: {}, **keys}.items()}
            variables["BUSBAR_KEYS_FILE"] = str(keys_file)
        store_env = {} if store is None else {"BUSBAR_REDIS_URL": store.url}
        running = Fleet(bus, folder, config, texts, {**variables, **(env or {})}, store_env, stack)
        for name, count in (dict.fromkeys(config, 1) if workers is None else workers).items():
            server, _, version = name.partition("@")
            for _ in range(count):
                await running.start_worker(server, version=version or None)
        await running.start_orchestrators(orchestrators)
        await running.wait_connected()
        yield running


def python_server(module: str, *arguments: str, **policy: Any) -> dict[str, Any]:
    """The configuration of a server that a worker starts as `python -m module` and talks to over stdio."""
    return {"command": ["python", "-m", module, *arguments], "cwd": str(REPOSITORY), **policy}


def ledger_server(ledger: Path, **policy: Any) -> dict[str, Any]:
    """The configuration of a ledger server that writes to `ledger`."""
    return python_server("tests.support.ledger_server", "--ledger", str(ledger), **policy)


def record(server: str | None = None, **arguments: Any) -> dict[str, Any]:
    """A query for the ledger server's `record`, with an id of its own unless one is given."""
    fields = {"tool": "record", "arguments": {"id": uuid.uuid4().hex, **arguments}}
    return {"server": server, **fields} if server else fields


def _body(query: Query) -> bytes:
    return query if isinstance(query, bytes) else orjson.dumps(query)
