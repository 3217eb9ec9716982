"""A reload, and the supervisor that has to take part in it: real NATS, a supervisor as slow as a test wants."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bus_schemas import subjects
from bus_schemas.config import ConfigApplied, ConfigPrepared
from services.admin import reloading
from services.admin.reloading import ConfigControl
from services.runtime.bus import BusMessage
from services.runtime.config.file import load_policy
from services.runtime.fleet import Fleet
from services.runtime.replicas import open_replicas
from tests.support.admin import BOSS, admins
from tests.support.buses import connected
from tests.support.fleet import fleet
from tests.support.servers import NatsServer
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

SERVERS = {"files": {"url": "http://127.0.0.1:1/mcp"}}


@asynccontextmanager
async def beside_a_supervisor(
    nats: NatsServer, folder: Path, *, answers_in_time: bool
) -> AsyncIterator[tuple[ConfigControl, list[str]]]:
    """Yield what reloads, and the orders that the supervisor hears; it obeys them."""
    path = folder / "busbar.json"
    path.write_text(json.dumps({"servers": SERVERS}))
    digest = load_policy(path).digest()
    heard: list[str] = []
    async with (
        connected(nats.url, service="admin") as (bus, inbox, life),
        open_replicas(bus, inbox, life) as replicas,
    ):

        async def obey(message: BusMessage) -> None:
            heard.append(json.loads(message.data)["order"])
            if heard[-1] == "apply_config":
                await bus.publish(message.reply, ConfigApplied(instance="s1", service="supervisor").encode())
            elif answers_in_time:
                prepared = ConfigPrepared(instance="s1", service="supervisor", digest=digest)
                await bus.publish(message.reply, prepared.encode())

        await bus.subscribe(subjects.SUPERVISOR, obey)
        yield ConfigControl(bus, inbox, Fleet(bus, inbox), replicas, path, has_supervisor=answers_in_time), heard


async def test_a_supervisor_that_answers_too_late_is_told_to_apply_it_all_the_same(
    tmp_path: Path, nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reloading, "_PREPARED_WITHIN_S", 0.3)
    async with beside_a_supervisor(nats, tmp_path, answers_in_time=False) as (control, heard):
        reload = await control.reload()
        assert (reload.is_applied, reload.acknowledged_by, reload.missing) == (True, [], [])
        await until(lambda: len(heard) == 2)
    assert heard == ["prepare_config", "apply_config"]


async def test_a_supervisor_that_there_has_to_be_takes_part(tmp_path: Path, nats: NatsServer) -> None:
    async with beside_a_supervisor(nats, tmp_path, answers_in_time=True) as (control, heard):
        reload = await control.reload()
    assert (reload.is_applied, reload.acknowledged_by, reload.missing) == (True, ["supervisor-s1"], [])
    assert heard == ["prepare_config", "apply_config"]


async def test_without_the_supervisor_that_there_has_to_be_nothing_is_changed() -> None:
    env = {"BUSBAR_HAS_SUPERVISOR": "true"}
    async with (
        fleet(SERVERS, workers={}, keys=BOSS, env=env) as running,
        admins(running) as (desk,),
    ):
        more = {**SERVERS, "more": SERVERS["files"]}
        (running.folder / "busbar.json").write_text(json.dumps({"servers": more}))
        answer = await desk.http.post("/v1/config/reload")
        report = answer.json()
        assert (answer.status_code, report["applied"], report["missing"]) == (504, False, ["supervisor"])
        assert [server["name"] for server in (await desk.get("/v1/servers"))["servers"]] == ["files"]
