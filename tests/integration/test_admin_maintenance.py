"""Maintenance, with real admins, orchestrators, health services, NATS and Valkey: who is out, for whom, until when."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import redis

from tests.support.admin import BOSS, Admin, admins
from tests.support.fleet import OWN_KEY, Fleet, fleet, ledger_server, record
from tests.support.health import health_replicas
from tests.support.records import read_ledger
from tests.support.servers import ValkeyServer, valkey_server

pytestmark = pytest.mark.anyio

PATH = "/v1/servers/files/maintenance"
MOVING = {"reason": "its disk is being moved"}


@asynccontextmanager
async def world(
    folder: Path, *, store: ValkeyServer | None = None, orchestrators: int = 2, count: int = 1, **policy: Any
) -> AsyncIterator[tuple[Fleet, Sequence[Admin]]]:
    """Run a fleet with the servers `files` and `mirror`, and so many admins."""
    config = {
        "files": ledger_server(folder / "files", **policy),
        "mirror": ledger_server(folder / "mirror"),
    }
    async with (
        fleet(config, orchestrators=orchestrators, keys=BOSS, store=store) as running,
        admins(running, count) as desks,
    ):
        yield running, desks


async def codes(running: Fleet) -> list[str]:
    """What each orchestrator says to a query for `files`: `ok`, or the code of its problem."""
    answers = [await running.ask_http(record("files"), orchestrator=at) for at in range(len(running.orchestrators))]
    return ["ok" if answer.status == 200 else answer.json["code"] for answer in answers]


def starts(ledger: Path) -> int:
    return sum(line.event == "start" for line in read_ledger(ledger)) if ledger.exists() else 0


async def test_a_server_that_is_taken_out_is_out_everywhere_until_it_is_put_back(tmp_path: Path) -> None:
    async with (
        valkey_server() as store,
        world(tmp_path, store=store, count=2) as (running, (desk, other)),
        health_replicas(running) as health,
    ):
        assert await codes(running) == ["ok", "ok"]
        before = starts(tmp_path / "files")
        taken = await desk.http.post(PATH, json=MOVING)
        assert taken.status_code == 200
        assert len(taken.json()["acknowledged_by"]) == 2
        assert (taken.json()["missing"], taken.json()["retained"]) == ([], True)

        # At once, without waiting: that is what the acknowledgements say.
        assert await codes(running) == ["maintenance", "maintenance"]
        over_bus = await running.ask_bus(record("files"))
        assert (over_bus.status, over_bus.json["code"], over_bus.json["executed"]) == (503, "maintenance", "no")
        assert int(over_bus.headers["retry-after"]) == 30
        assert starts(tmp_path / "files") == before
        assert (await running.ask_http(record("mirror"))).status == 200

        await health.until(within_s=10, files="Maintenance", mirror="connected")
        assert [status for status, _ in await health.reports()] == [200, 200]
        assert {report["status"] for _, report in await health.reports()} == {"healthy"}
        for one in (desk, other):
            told = await one.until("/v1/servers", lambda told: told["servers"][0]["maintenance"])
            assert told["servers"][0]["maintenance"].items() >= {**MOVING, "until": None}.items()

        back = await other.http.delete(PATH)
        assert (back.status_code, back.json()["missing"]) == (200, [])
        assert await codes(running) == ["ok", "ok"]
        await health.until(within_s=10, files="connected")
        await desk.until("/v1/servers", lambda told: told["servers"][0]["maintenance"] is None)
        assert desk.audited()[1]["target"] == {"server": "files", "reason": MOVING["reason"], "until": ""}
        audited = [(entry["action"], entry["outcome"]) for entry in desk.audited()]
        assert audited == [
            (action, outcome)
            for action in ("begin_maintenance", "end_maintenance")
            for outcome in ("attempted", "done")
        ]


async def test_the_alternates_of_a_server_that_is_out_answer_for_it(tmp_path: Path) -> None:
    async with world(tmp_path, orchestrators=1, alternates=["mirror"]) as (running, (desk,)):
        await desk.http.post(PATH, json=MOVING)
        answer = await running.ask_http(record("files"))
        assert (answer.status, answer.json["server"]) == (200, "mirror")

        await desk.http.post(PATH.replace("files", "mirror"), json=MOVING)
        assert await codes(running) == ["maintenance"]


async def test_it_ends_by_itself_at_its_time(tmp_path: Path) -> None:
    async with world(tmp_path, orchestrators=1) as (running, (desk,)), health_replicas(running, 1) as health:
        until = datetime.now(UTC) + timedelta(seconds=4)
        await desk.http.post(PATH, json={**MOVING, "until": until.isoformat()})
        refused = await running.ask_http(record("files"))
        assert refused.json["code"] == "maintenance"
        assert 1 <= int(refused.headers["retry-after"]) <= 4
        (listed, _) = (await desk.get("/v1/servers"))["servers"]
        assert datetime.fromisoformat(listed["maintenance"]["until"]) == until

        with anyio.fail_after(15):
            while await codes(running) != ["ok"]:
                await anyio.sleep(0.05)
        await health.until(within_s=10, files="connected")
        assert (await desk.get("/v1/servers"))["servers"][0]["maintenance"] is None


async def test_the_latest_moment_that_is_taken_is_told_again_and_a_later_one_is_refused(tmp_path: Path) -> None:
    async with world(tmp_path, orchestrators=1) as (_, (desk,)):
        late = await desk.http.post(PATH, json={**MOVING, "until": "9999-12-31T23:59:59.1Z"})
        assert (late.status_code, late.json()["errors"]) == (422, [{"pointer": "/until", "keyword": "maximum"}])
        assert (await desk.get("/v1/servers"))["servers"][0]["maintenance"] is None
        latest = "9999-12-31T23:59:59Z"
        assert (await desk.http.post(PATH, json={**MOVING, "until": latest})).status_code == 200
        assert (await desk.get("/v1/servers"))["servers"][0]["maintenance"]["until"] == latest


async def test_what_the_cache_has_of_a_server_that_is_out_is_still_told(tmp_path: Path) -> None:
    tools = {"record": {"cache_ttl_s": 300, "cache_scope": "public"}}
    async with (
        valkey_server() as store,
        world(tmp_path, store=store, orchestrators=1, tools=tools) as (running, (desk,)),
    ):
        kept = record("files", id="kept")
        first = await running.ask_http(kept)
        await desk.http.post(PATH, json=MOVING)
        again = await running.ask_http(kept)
        assert (again.status, again.json["cache"], again.raw_result) == (200, "hit", first.raw_result)
        assert (await running.ask_http({**kept, "cache": "bypass"})).json["code"] == "maintenance"
        assert await codes(running) == ["maintenance"]


async def test_without_a_store_a_new_orchestrator_learns_it_from_the_others(tmp_path: Path) -> None:
    async with world(tmp_path, orchestrators=1) as (running, (desk,)):
        taken = await desk.http.post(PATH, json=MOVING)
        assert (taken.status_code, taken.json()["retained"]) == (200, False)
        await desk.process.kill()
        await running.start_orchestrators()
        await running.wait_connected()
        assert await codes(running) == ["maintenance", "maintenance"]


async def test_when_nobody_is_left_a_new_orchestrator_learns_it_from_the_store(tmp_path: Path) -> None:
    async with valkey_server() as store, world(tmp_path, store=store, orchestrators=1) as (running, (desk,)):
        assert (await desk.http.post(PATH, json=MOVING)).json()["retained"] is True
        await desk.process.kill()
        await running.orchestrators.pop().process.kill()
        await running.start_orchestrators()
        await running.wait_connected()
        assert await codes(running) == ["maintenance"]


async def test_a_store_that_was_away_is_told_when_it_is_back(tmp_path: Path) -> None:
    async with valkey_server() as store, world(tmp_path, store=store, orchestrators=1) as (_, (desk,)):
        await store.kill()
        taken = await desk.http.post(PATH, json=MOVING)
        assert (taken.status_code, taken.json()["missing"], taken.json()["retained"]) == (200, [], False)
        await store.start()
        with redis.Redis.from_url(store.url) as client, anyio.fail_after(15):
            while not client.hexists("busbar:v1:retained:maintenance", "files"):
                await anyio.sleep(0.05)


async def test_an_orchestrator_that_is_frozen_is_named_and_obeys_when_it_goes_on(tmp_path: Path) -> None:
    async with world(tmp_path) as (running, (desk,)):
        assert len((await desk.http.delete(PATH)).json()["acknowledged_by"]) == 2
        frozen = running.orchestrators[0].process
        frozen.pause()
        late = await desk.http.post(PATH, json=MOVING)
        frozen.resume()
        assert (late.status_code, len(late.json()["acknowledged_by"]), len(late.json()["missing"])) == (504, 1, 1)
        assert [entry["outcome"] for entry in desk.audited()][2:] == ["attempted", "timeout"]
        with anyio.fail_after(15):
            while await codes(running) != ["maintenance", "maintenance"]:
                await anyio.sleep(0.05)


async def test_nothing_is_changed_while_the_bus_is_away(tmp_path: Path) -> None:
    async with valkey_server() as store, world(tmp_path, store=store, orchestrators=1) as (running, (desk,)):
        await running.nats.kill()
        with anyio.fail_after(10):
            while (await desk.http.get("/readyz")).status_code == 200:
                await anyio.sleep(0.02)
        refused = [await desk.http.post(PATH, json=MOVING), await desk.http.delete(PATH)]
        assert [(one.status_code, one.json()["code"]) for one in refused] == [(503, "bus_unavailable")] * 2
        await running.nats.start()
        with anyio.fail_after(20):
            while await codes(running) != ["ok"]:
                await anyio.sleep(0.1)
        assert (await desk.get("/v1/servers"))["servers"][0]["maintenance"] is None


SOON = "2999-01-01T00:00:00Z"
REFUSED: list[tuple[str, dict[str, Any], int, str]] = [
    ("/v1/servers/unknown/maintenance", {"json": MOVING}, 404, "server_not_found"),
    ("/v1/servers/a__b/maintenance", {"json": MOVING}, 422, "invalid_request"),
    (PATH, {"json": {}}, 422, "invalid_request"),
    (PATH, {"json": {"reason": ""}}, 422, "invalid_request"),
    (PATH, {"json": {"reason": " \t "}}, 422, "invalid_request"),
    (PATH, {"json": {"reason": "two\nlines"}}, 422, "invalid_request"),
    (PATH, {"json": {"reason": "x" * 257}}, 422, "invalid_request"),
    (PATH, {"json": {**MOVING, "untill": SOON}}, 422, "invalid_request"),
    (PATH, {"json": {**MOVING, "until": "2001-01-01T00:00:00Z"}}, 422, "invalid_request"),
    (PATH, {"json": {**MOVING, "until": "2999-01-01T00:00:00"}}, 422, "invalid_request"),
    (PATH, {"json": {**MOVING, "until": "9999-12-31T23:59:59-23:59"}}, 422, "invalid_request"),
    (PATH, {"json": {**MOVING, "until": "9999-12-31T23:59:59.999999Z"}}, 422, "invalid_request"),
    (PATH, {"json": {**MOVING, "until": 32_472_144_000}}, 422, "invalid_request"),
    (PATH, {"json": {**MOVING, "until": "32472144000"}}, 422, "invalid_request"),
    (PATH, {"json": {**MOVING, "until": "soon"}}, 422, "invalid_request"),
    (PATH, {"json": [MOVING]}, 422, "invalid_request"),
    (PATH, {"content": b"{", "headers": {"content-type": "application/json"}}, 400, "invalid_json"),
    (PATH, {"content": b'{"reason": "a"}', "headers": {"content-type": "text/plain"}}, 415, "unsupported_media_type"),
    (
        PATH,
        {"content": b" " * 1_048_577, "headers": {"content-type": "application/json"}},
        413,
        "payload_too_large",
    ),
]


async def test_what_cannot_be_obeyed_is_refused_and_audited_and_nothing_is_changed(tmp_path: Path) -> None:
    async with world(tmp_path, orchestrators=1) as (running, (desk,)):
        answers = [await desk.http.post(path, **sent) for path, sent, _, _ in REFUSED]
        answers.append(await desk.http.delete("/v1/servers/unknown/maintenance"))
        assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [
            *((status, code) for _, _, status, code in REFUSED),
            (404, "server_not_found"),
        ]
        audited = [entry["outcome"] for entry in desk.audited()]
        assert audited[1::2] == [answer.json()["code"] for answer in answers]
        assert await codes(running) == ["ok"]


async def test_only_an_admin_key_may_and_no_body_is_read_without_one(tmp_path: Path) -> None:
    async with (
        world(tmp_path, orchestrators=1) as (running, (desk,)),
        httpx.AsyncClient(base_url=desk.url, trust_env=False) as client,
    ):
        headers: list[dict[str, str]] = [
            {},
            {"authorization": "Bearer no"},
            {"authorization": f"Bearer {running.keys[OWN_KEY]}"},
        ]
        refused = [
            (await client.request(method, PATH, headers=one, content=b"{" if method == "POST" else None)).status_code
            for method in ("POST", "DELETE")
            for one in headers
        ]
        assert refused == [401, 401, 403] * 2
        assert [entry["outcome"] for entry in desk.audited()] == ["unauthorized", "unauthorized", "forbidden"] * 2
        assert await codes(running) == ["ok"]
