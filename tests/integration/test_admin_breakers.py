"""`/v1/breakers`, with real admins, orchestrators and NATS: what is told of breakers, and an operator's orders."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from tests.support.admin import BOSS, Admin, admins
from tests.support.fleet import OWN_KEY, Fleet, fleet, python_server, record

pytestmark = pytest.mark.anyio

CLOSED = {"server": "files", "version": "1.0.0", "state": "closed", "opened_at": None, "by": None}
MINUTE = {"reason": "it answers nonsense", "for_s": 60}
MENDED = {"reason": "it is mended"}


@asynccontextmanager
async def world(
    folder: Path, *, orchestrators: int = 2, count: int = 1, **policy: Any
) -> AsyncIterator[tuple[Fleet, Sequence[Admin]]]:
    """Run a fleet with the server `files`, and so many admins."""
    ledger = str(folder / "ledger")
    config = {"files": python_server("tests.support.ledger_server", "--ledger", ledger, version="1.0.0", **policy)}
    async with (
        fleet(config, orchestrators=orchestrators, keys=BOSS) as running,
        admins(running, count) as desks,
    ):
        yield running, desks


async def codes(running: Fleet) -> list[str]:
    """What each orchestrator says to a query: `ok`, or the code of its problem."""
    answers = [await running.ask_http(record("files"), orchestrator=at) for at in range(len(running.orchestrators))]
    return ["ok" if answer.status == 200 else answer.json["code"] for answer in answers]


async def breaker(desk: Admin) -> dict[str, Any]:
    """The one breaker that there is."""
    [only] = (await desk.get("/v1/breakers"))["breakers"]
    return dict(only)


async def test_an_operator_isolates_a_server_everywhere_and_resets_it(tmp_path: Path) -> None:
    async with world(tmp_path, count=2) as (running, (desk, other)):
        assert await breaker(desk) == await breaker(other) == CLOSED
        done = await desk.http.post("/v1/breakers/files/isolate", json=MINUTE)
        assert (done.status_code, len(done.json()["acknowledged_by"]), done.json()["missing"]) == (200, 2, [])
        assert done.json().keys() == {"acknowledged_by", "missing"}
        assert await codes(running) == ["circuit_open"] * 2
        async with admins(running) as (late,):
            for one in (desk, other, late):
                told = await breaker(one)
                assert (told["state"], told["by"]) == ("isolated", "admin")
                assert told["opened_at"] is not None
        listed = (await desk.get("/v1/servers"))["servers"][0]["versions"][0]["breaker"]
        assert (listed["state"], listed["reason"]) == ("isolated", MINUTE["reason"])

        reset = await other.http.post("/v1/breakers/files/reset", json=MENDED)
        assert (reset.status_code, len(reset.json()["acknowledged_by"]), reset.json()["missing"]) == (200, 2, [])
        assert await codes(running) == ["ok"] * 2
        assert await breaker(desk) == await breaker(other) == CLOSED
        assert desk.audited()[1]["target"] == {"server": "files", "reason": MINUTE["reason"], "for_s": "60"}
        assert [(entry["action"], entry["outcome"]) for entry in desk.audited()][1::2] == [
            ("isolate_server", "done"),
            ("reset_breakers", "done"),
        ]


async def test_an_isolation_ends_by_itself(tmp_path: Path) -> None:
    async with world(tmp_path, orchestrators=1) as (running, (desk,)):
        await desk.http.post("/v1/breakers/files/isolate", json={**MINUTE, "for_s": 3})
        assert await codes(running) == ["circuit_open"]
        with anyio.fail_after(15):
            while await codes(running) != ["ok"]:
                await anyio.sleep(0.05)
        assert await breaker(desk) == CLOSED


async def test_a_breaker_that_calls_opened_is_told_by_every_admin_and_a_reset_closes_it(tmp_path: Path) -> None:
    async with world(tmp_path, count=2, timeout_s=1) as (running, (desk, other)):
        instances = (await desk.http.post("/v1/breakers/files/reset", json=MENDED)).json()["acknowledged_by"]
        failing = {**record("files", fail="hang"), "timeout_ms": 1000}
        while (answer := await running.ask_http(failing)).json["code"] != "circuit_open":
            assert answer.json["code"] == "timeout"
        told = await breaker(desk)
        assert told["state"] == "open"
        assert told["by"] in instances
        assert await breaker(other) == told

        await desk.http.post("/v1/breakers/files/reset", json=MENDED)
        assert await codes(running) == ["ok"] * 2


async def test_an_orchestrator_that_is_frozen_is_named(tmp_path: Path) -> None:
    async with world(tmp_path) as (running, (desk,)):
        heard = await desk.http.post("/v1/breakers/files/reset", json=MENDED)
        assert len(heard.json()["acknowledged_by"]) == 2
        frozen = running.orchestrators[0].process
        frozen.pause()
        late = await desk.http.post("/v1/breakers/files/isolate", json=MINUTE)
        frozen.resume()
        assert (late.status_code, len(late.json()["acknowledged_by"]), len(late.json()["missing"])) == (504, 1, 1)
        assert [entry["outcome"] for entry in desk.audited()][2:] == ["attempted", "timeout"]
        with anyio.fail_after(15):
            while await codes(running) != ["circuit_open"] * 2:
                await anyio.sleep(0.05)


JSON = {"content-type": "application/json"}
REFUSED: list[tuple[str, dict[str, Any], int, str]] = [
    ("unknown/isolate", {"json": MINUTE}, 404, "server_not_found"),
    ("unknown/reset", {"json": MENDED}, 404, "server_not_found"),
    ("a__b/isolate", {"json": MINUTE}, 422, "invalid_request"),
    ("files/isolate", {"json": MENDED}, 422, "invalid_request"),
    ("files/isolate", {"json": {"for_s": 60}}, 422, "invalid_request"),
    ("files/isolate", {"json": {**MINUTE, "for_s": 0}}, 422, "invalid_request"),
    ("files/isolate", {"json": {**MINUTE, "for_s": 86_401}}, 422, "invalid_request"),
    ("files/isolate", {"json": {**MINUTE, "for_s": "60"}}, 422, "invalid_request"),
    ("files/isolate", {"json": {**MINUTE, "for_s": True}}, 422, "invalid_request"),
    ("files/isolate", {"json": {**MINUTE, "reason": None}}, 422, "invalid_request"),
    ("files/isolate", {"content": b'{"for_s": NaN}', "headers": JSON}, 400, "invalid_json"),
    ("files/isolate", {"content": b'{"reason": "\\ud800", "for_s": 1}', "headers": JSON}, 400, "invalid_json"),
    ("files/reset", {"json": {}}, 422, "invalid_request"),
    ("files/reset", {}, 415, "unsupported_media_type"),
    ("files/open", {"json": MINUTE}, 404, "not_found"),
]


async def test_what_cannot_be_obeyed_is_refused_and_nothing_is_changed(tmp_path: Path) -> None:
    async with (
        world(tmp_path, orchestrators=1) as (running, (desk,)),
        httpx.AsyncClient(base_url=desk.url, trust_env=False) as stranger,
    ):
        answers = [await desk.http.post(f"/v1/breakers/{path}", **sent) for path, sent, _, _ in REFUSED]
        assert [(one.status_code, one.json()["code"]) for one in answers] == [
            (status, code) for _, _, status, code in REFUSED
        ]
        for headers, status in (({}, 401), ({"authorization": f"Bearer {running.keys[OWN_KEY]}"}, 403)):
            for method, path in (("GET", ""), ("POST", "/files/isolate"), ("POST", "/files/reset")):
                refused = await stranger.request(method, f"/v1/breakers{path}", headers=headers)
                assert refused.status_code == status
        assert await codes(running) == ["ok"]
        assert await breaker(desk) == CLOSED

        await running.nats.kill()
        with anyio.fail_after(10):
            while (await desk.http.get("/readyz")).status_code == 200:
                await anyio.sleep(0.02)
        for answer in (
            await desk.http.get("/v1/breakers"),
            await desk.http.post("/v1/breakers/files/isolate", json=MINUTE),
        ):
            assert (answer.status_code, answer.json()["code"]) == (503, "bus_unavailable")
        assert (await desk.http.get("/v1/servers")).status_code == 200
