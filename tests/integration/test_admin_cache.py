"""The admin service and `busbar cache`: what the cache holds, and clearing it, with real NATS, Valkey and replicas."""

import json
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import redis

from bus_schemas import subjects
from services.runtime.audit_chain import verify
from services.runtime.auth.keys import add_key
from services.runtime.store.cache_keys import EVERYTHING, TALLIES, CacheScope, generation, tally
from tests.support.buses import Ear, connected
from tests.support.ports import free_port
from tests.support.processes import RunningProcess, python_process, wait_ready
from tests.support.replica import replica
from tests.support.servers import NatsServer, ValkeyServer, nats_server, valkey_server
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

SCOPES = {
    "/v1/cache": (EVERYTHING, 6, {}),
    "/v1/cache/files": (CacheScope("files"), 5, {"other": 1}),
    "/v1/cache/files/read": (CacheScope("files", "read"), 2, {"files": 3, "other": 1}),
    "/v1/cache/files/file%3A%2F%2Fa%20b%2F%3Fc%23d": (
        CacheScope("files", "file://a b/?c#d"),
        3,
        {"files": 2, "other": 1},
    ),
}
"""Paths, what a flush there is of, how many of the entries that `fill` makes it clears, and what is left."""


@dataclass(frozen=True, slots=True)
class Desk:
    """A running admin service."""

    url: str
    process: RunningProcess
    http: httpx.AsyncClient
    """Asks with an admin key."""
    keys: Mapping[str, str]
    audit_file: Path

    def audited(self) -> list[dict[str, Any]]:
        """The entries of the audit log, which must be a whole chain."""
        lines = self.audit_file.read_bytes().splitlines(keepends=True)
        assert verify(lines).broken_at is None
        return [json.loads(line) for line in lines]


@asynccontextmanager
async def desk(folder: Path, nats: NatsServer, valkey: ValkeyServer | None, **env: str) -> AsyncIterator[Desk]:
    """Run an admin service with the servers `files` and `other`; its folder may be shared by several."""
    config, keys_file = folder / "busbar.json", folder / "keys.jsonl"
    servers = {name: {"url": "http://127.0.0.1:1/mcp"} for name in ("files", "other")}
    if not config.exists():
        config.touch(mode=0o600)
        config.write_text(json.dumps({"servers": servers}))
    port = free_port()
    keys = {
        "boss": add_key(keys_file, f"boss-{port}", scopes=["admin"]),
        "reader": add_key(keys_file, f"reader-{port}", scopes=["query"]),
    }
    variables = {
        "BUSBAR_CONFIG": str(config),
        "BUSBAR_NATS_URL": nats.url,
        "BUSBAR_ADMIN_PORT": str(port),
        "BUSBAR_KEYS_FILE": str(keys_file),
        "BUSBAR_STATE_DIR": str(folder / "state"),
        **({"BUSBAR_REDIS_URL": valkey.url} if valkey else {}),
        **env,
    }
    url = f"http://127.0.0.1:{port}"
    async with (
        python_process("services.admin", env=variables) as process,
        httpx.AsyncClient(
            base_url=url, trust_env=False, timeout=20, headers={"authorization": f"Bearer {keys['boss']}"}
        ) as http,
    ):
        await wait_ready(process, f"{url}/readyz")
        yield Desk(url, process, http, keys, folder / "state" / "audit.jsonl")


def fill(valkey: ValkeyServer) -> None:
    """Put entries into the book: live ones 2 + 3 of `files` and 1 of `other`, and one whose time is over."""
    now_ms = time.time() * 1000
    entries = {("files", "read"): 2, ("files", "file://a b/?c#d"): 3, ("other", "read"): 1}
    with redis.Redis.from_url(valkey.url) as client:
        for (server, target), live in entries.items():
            client.zadd(tally(server, target), {f"entry{number}": now_ms + 600_000 for number in range(live)})
            client.sadd(TALLIES, tally(server, target))
        client.zadd(tally("other", "read"), {"old": now_ms - 1})


def generations(valkey: ValkeyServer) -> dict[str, bytes]:
    """Every generation that the store has."""
    with redis.Redis.from_url(valkey.url) as client:
        return {key.decode(): client.get(key) for key in client.scan_iter(f"{generation(EVERYTHING)}*")}


def named(**values: str | None) -> dict[str, str]:
    """Those that are not None."""
    return {name: value for name, value in values.items() if value is not None}


def entries_of(report: Any) -> dict[str, int]:
    return {name: server["entries"] for name, server in report["servers"].items() if server["entries"]}


@asynccontextmanager
async def process_of_a_replica(nats: NatsServer, instance: str) -> AsyncIterator[RunningProcess]:
    async with python_process("tests.support.replica", instance, env={"BUSBAR_NATS_URL": nats.url}) as process:
        await until(lambda: "ready" in process.stdout(), timeout_s=20)
        yield process


async def test_the_statistics_are_those_of_all_replicas_and_of_the_store(
    tmp_path: Path, nats: NatsServer, valkey: ValkeyServer
) -> None:
    fill(valkey)
    async with (
        desk(tmp_path, nats, valkey) as at,
        replica(nats.url, "one", hits=5, misses=1),
        replica(nats.url, "two", hits=1, misses=1),
    ):
        with anyio.fail_after(10):
            while (report := (await at.http.get("/v1/cache")).json())["hits"] < 6:
                await anyio.sleep(0.02)
    assert report == {
        "hits": 6,
        "misses": 2,
        "hit_rate": 0.75,
        "entries": 6,
        "servers": {"files": {"entries": 5}, "other": {"entries": 1}},
    }


async def test_a_flush_clears_what_it_is_of_and_every_replica_acknowledges_it(
    tmp_path: Path, nats: NatsServer, valkey: ValkeyServer
) -> None:
    async with (
        replica(nats.url, "one") as one,
        replica(nats.url, "two") as two,
        connected(nats.url) as side,
        desk(tmp_path, nats, valkey) as at,
    ):
        ear = Ear()
        await side.bus.subscribe(subjects.CACHE_EVENTS, ear.hear)
        for number, (path, (scope, cleared, left)) in enumerate(SCOPES.items(), start=1):
            fill(valkey)
            before = generations(valkey)
            answer = await at.http.delete(path)
            assert (answer.status_code, answer.json()) == (
                200,
                {"cleared": cleared, "acknowledged_by": ["one", "two"], "missing": []},
            )
            assert (one.flushes, two.flushes) == (number, number)
            assert [name for name, is_ in generations(valkey).items() if before.get(name) != is_] == [generation(scope)]
            assert entries_of((await at.http.get("/v1/cache")).json()) == left
            await side.bus.fence()
            assert json.loads(ear.heard[-1]) == named(event="flushed", server=scope.server, target=scope.target)
            attempted, done = at.audited()[-2:]
            assert (attempted["outcome"], done["outcome"]) == ("attempted", "done")
            assert (attempted["id"], attempted["action"], attempted["who"][:4]) == (done["id"], "clear_cache", "boss")
            assert attempted["target"] == named(server=scope.server, tool=scope.target)
    assert len(ear.heard) == len(SCOPES)


async def test_a_frozen_replica_is_named_and_hears_of_the_flush_when_it_goes_on(
    tmp_path: Path, nats: NatsServer, valkey: ValkeyServer
) -> None:
    fill(valkey)
    async with (
        process_of_a_replica(nats, "frozen") as frozen,
        replica(nats.url, "well"),
        desk(tmp_path, nats, valkey) as at,
    ):
        first = await at.http.delete("/v1/cache/other")
        assert first.json() == {"cleared": 1, "acknowledged_by": ["frozen", "well"], "missing": []}
        await until(lambda: frozen.stdout().count("flushed") == 1)
        frozen.pause()
        second = await at.http.delete("/v1/cache/files")
        assert (second.status_code, second.json()) == (
            504,
            {"cleared": 5, "acknowledged_by": ["well"], "missing": ["frozen"]},
        )
        frozen.resume()
        await until(lambda: frozen.stdout().count("flushed") == 2)
        third = await at.http.delete("/v1/cache")
        assert (third.status_code, third.json()["missing"]) == (200, [])
        assert [entry["outcome"] for entry in at.audited()][1::2] == ["done", "timeout", "done"]

        await frozen.kill()
        dead = await at.http.delete("/v1/cache")
        assert (dead.status_code, dead.json()["missing"]) == (504, ["frozen"])


async def test_a_replica_that_left_is_not_waited_for(tmp_path: Path, nats: NatsServer, valkey: ValkeyServer) -> None:
    async with process_of_a_replica(nats, "gone") as gone, desk(tmp_path, nats, valkey) as at:
        assert (await at.http.delete("/v1/cache")).json()["acknowledged_by"] == ["gone"]
        assert await gone.terminate() == 0
        answer = await at.http.delete("/v1/cache")
    assert (answer.status_code, answer.json()) == (200, {"cleared": 0, "acknowledged_by": [], "missing": []})


async def test_what_cannot_be_cleared_is_refused_and_audited(
    tmp_path: Path, nats: NatsServer, valkey: ValkeyServer
) -> None:
    fill(valkey)
    refusals = {
        "/v1/cache/unknown": (404, "server_not_found"),
        "/v1/cache/unknown/read": (404, "server_not_found"),
        "/v1/cache/a__b": (422, "invalid_request"),
        "/v1/cache/files/": (422, "invalid_request"),
        f"/v1/cache/files/{'x' * 9000}": (422, "invalid_request"),
    }
    async with replica(nats.url, "one") as one, desk(tmp_path, nats, valkey) as at:
        answers = [await at.http.delete(path) for path in refusals]
    problems = [answer.json() for answer in answers]
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == list(refusals.values())
    assert {answer.headers["content-type"] for answer in answers} == {"application/problem+json"}
    assert one.flushes == 0
    assert generations(valkey) == {}
    assert [(entry["id"], entry["outcome"]) for entry in at.audited()] == [
        (problem["id"], outcome) for problem in problems for outcome in ("attempted", problem["code"])
    ]


async def test_only_an_admin_key_may_clear_and_refused_attempts_are_audited(
    tmp_path: Path, nats: NatsServer, valkey: ValkeyServer
) -> None:
    async with desk(tmp_path, nats, valkey) as at, httpx.AsyncClient(base_url=at.url, trust_env=False) as client:
        refused = [
            (await client.request(method, "/v1/cache", headers=headers)).status_code
            for method in ("GET", "DELETE")
            for headers in ({}, {"authorization": "Bearer no"}, {"authorization": f"Bearer {at.keys['reader']}"})
        ]
    assert refused == [401, 401, 403] * 2
    assert generations(valkey) == {}
    outcomes = [(entry["who"] and entry["who"][:6], entry["outcome"]) for entry in at.audited()]
    assert outcomes == [(None, "unauthorized"), (None, "unauthorized"), ("reader", "forbidden")] * 2
    assert not any(key in at.audit_file.read_text() for key in at.keys.values())


async def test_nothing_is_claimed_and_nobody_told_while_the_store_is_down(tmp_path: Path, nats: NatsServer) -> None:
    async with valkey_server() as store, replica(nats.url, "one") as one, desk(tmp_path, nats, store) as at:
        fill(store)
        assert (await at.http.get("/v1/cache")).json()["entries"] == 6
        await store.kill()
        answers = [await at.http.delete("/v1/cache/files/read"), await at.http.get("/v1/cache")]
        assert one.flushes == 0
        assert [entry["outcome"] for entry in at.audited()] == ["attempted", "store_unavailable"]
        await store.start()
        with anyio.fail_after(10):
            while (await at.http.get("/v1/cache")).status_code != 200:
                await anyio.sleep(0.02)
        assert (await at.http.delete("/v1/cache")).json()["acknowledged_by"] == ["one"]
    for answer in answers:
        assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
        assert answer.headers["content-type"] == "application/problem+json"
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.json()["executed"] == "no"


async def test_without_a_store_there_is_nothing_to_clear_and_that_is_said(tmp_path: Path, nats: NatsServer) -> None:
    async with desk(tmp_path, nats, None) as at:
        assert [(await at.http.request(method, "/v1/cache")).status_code for method in ("GET", "DELETE")] == [503, 503]


async def test_nothing_is_cleared_while_the_bus_is_away(tmp_path: Path, valkey: ValkeyServer) -> None:
    fill(valkey)
    async with nats_server() as bus, desk(tmp_path, bus, valkey) as at:
        await bus.kill()
        with anyio.fail_after(10):
            while (await at.http.get("/readyz")).status_code == 200:
                await anyio.sleep(0.02)
        answer = await at.http.delete("/v1/cache")
        assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
        assert generations(valkey) == {}
        assert (await at.http.get("/v1/cache")).json()["entries"] == 6


async def test_nothing_is_changed_that_cannot_be_audited(
    tmp_path: Path, nats: NatsServer, valkey: ValkeyServer
) -> None:
    fill(valkey)
    async with desk(tmp_path, nats, valkey, BUSBAR_AUDIT_FILE="/dev/full") as at, replica(nats.url, "one") as one:
        answer = await at.http.delete("/v1/cache")
        assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
        assert (await at.http.get("/v1/cache")).json()["entries"] == 6
    assert one.flushes == 0
    assert generations(valkey) == {}


async def test_two_admin_services_write_one_chain_also_over_a_kill(
    tmp_path: Path, nats: NatsServer, valkey: ValkeyServer
) -> None:
    async with AsyncExitStack() as stack:
        first, second = [await stack.enter_async_context(desk(tmp_path, nats, valkey)) for _ in range(2)]

        async def clear(at: Desk, times: int) -> None:
            for _ in range(times):
                assert (await at.http.delete("/v1/cache/files")).status_code == 200

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(clear, first, 15)
            tasks.start_soon(clear, second, 15)
        await first.process.kill()
        third = await stack.enter_async_context(desk(tmp_path, nats, valkey))
        await clear(third, 1)
        audited = third.audited()
    assert len(audited) == 62
    assert len({entry["by"] for entry in audited}) == 3


async def test_every_operation_declares_its_errors_and_the_key(
    tmp_path: Path, nats: NatsServer, valkey: ValkeyServer
) -> None:
    async with desk(tmp_path, nats, valkey) as at:
        document = (await at.http.get("/openapi.json")).json()
    operations = {
        (method, path): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if path.startswith("/v1/")
    }
    assert {key for key in operations if "cache" in key[1]} == {
        ("get", "/v1/cache"),
        ("delete", "/v1/cache"),
        ("delete", "/v1/cache/{server}"),
        ("delete", "/v1/cache/{server}/{tool}"),
    }
    for (method, _), operation in operations.items():
        assert operation["security"] == [{"key": []}]
        assert {"401", "403", "421", "500"} <= operation["responses"].keys()
        if method == "delete":
            assert {"503", "504"} <= operation["responses"].keys()
    assert list(document["components"]["securitySchemes"]) == ["key"]


async def busbar(url: str, key: str, *arguments: str) -> tuple[int, str, str]:
    """Run `busbar cache` against an admin service; return its status and what it printed."""
    with anyio.fail_after(30):
        done = await anyio.run_process(
            [sys.executable, "-m", "services.cli", "cache", *arguments],
            check=False,
            env={"BUSBAR_ADMIN_URL": url, "BUSBAR_ADMIN_KEY": key, "BUSBAR_STATE_DIR": "/nonexistent"},
        )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


async def test_the_command_shows_and_clears_the_cache(tmp_path: Path, nats: NatsServer, valkey: ValkeyServer) -> None:
    fill(valkey)
    async with replica(nats.url, "one", hits=3, misses=1), desk(tmp_path, nats, valkey) as at:
        assert (await busbar(at.url, at.keys["boss"], "clear", "files", "file://a b/?c#d"))[:2] == (
            0,
            "cleared 3 entries; acknowledged by 1 of 1 orchestrators\n",
        )
        status, shown, told = await busbar(at.url, at.keys["boss"], "stats")
        assert (status, told) == (0, "")
        lines = shown.splitlines()
        assert lines[0] == "3 entries; 3 hits, 1 misses, hit rate 75%"
        assert [line.split() for line in lines[2:]] == [["SERVER", "ENTRIES"], ["files", "2"], ["other", "1"]]
        assert json.loads((await busbar(at.url, at.keys["boss"], "stats", "--json"))[1])["servers"]["files"] == {
            "entries": 2
        }
        assert json.loads((await busbar(at.url, at.keys["boss"], "clear", "files", "--json"))[1]) == {
            "cleared": 2,
            "acknowledged_by": ["one"],
            "missing": [],
        }
        status, shown, told = await busbar(at.url, at.keys["boss"], "clear", "unknown")
        assert (status, shown) == (1, "")
        assert told.startswith("server_not_found: ")


async def test_the_command_names_the_replicas_that_did_not_acknowledge(
    tmp_path: Path, nats: NatsServer, valkey: ValkeyServer
) -> None:
    fill(valkey)
    async with process_of_a_replica(nats, "frozen") as frozen, desk(tmp_path, nats, valkey) as at:
        assert (await at.http.delete("/v1/cache/other")).status_code == 200
        frozen.signal(signal.SIGSTOP)
        status, shown, told = await busbar(at.url, at.keys["boss"], "clear")
    assert (status, shown) == (1, "cleared 5 entries; acknowledged by 0 of 1 orchestrators\n")
    assert told == "not acknowledged by frozen: they may answer from before for a moment\n"


@pytest.mark.parametrize("arguments", [[""], [".."], ["files", ""], ["files", ".."], ["files", "."]])
async def test_a_name_that_would_widen_a_flush_is_wrong_usage(arguments: list[str]) -> None:
    status, shown, told = await busbar("http://127.0.0.1:1", "key", "clear", *arguments)
    assert (status, shown) == (2, "")
    assert told.count("\n") == 1
