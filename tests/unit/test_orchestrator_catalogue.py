"""What live workers offer, by server and version."""

import logging

import pytest

from bus_schemas.queries import Query
from bus_schemas.workers import WorkerState
from services.orchestrator.catalogue import CatalogueView, Tool
from services.runtime.errors import InvalidArgumentsError
from tests.support.announced import AnnouncedFleet

pytestmark = pytest.mark.anyio


@pytest.fixture
def announced() -> AnnouncedFleet:
    return AnnouncedFleet()


@pytest.fixture
def catalogue(announced: AnnouncedFleet) -> CatalogueView:
    return CatalogueView(announced.fleet)


async def test_a_server_is_live_from_the_first_worker_that_joins_until_the_last_one_leaves(
    announced: AnnouncedFleet, catalogue: CatalogueView
) -> None:
    assert catalogue.live("s") is None
    assert not catalogue.is_known("s")
    one = await announced.join("s")
    other = await announced.join("s")
    live = catalogue.live("s")
    assert live is not None
    assert live.versions["1.0.0"].instances == [one.instance, other.instance]
    await announced.leave(one)
    live = catalogue.live("s")
    assert live is not None
    assert live.versions["1.0.0"].instances == [other.instance]
    await announced.leave(other)
    assert catalogue.live("s") is None
    assert catalogue.is_known("s")


async def test_the_first_version_is_the_one_whose_live_worker_started_first(
    announced: AnnouncedFleet, catalogue: CatalogueView
) -> None:
    await announced.join("s", "2.0.0", started_at=20)
    await announced.join("s", "1.0.0", started_at=30)
    oldest = await announced.join("s", "1.0.0", started_at=10)
    live = catalogue.live("s")
    assert live is not None
    assert live.first_version == "1.0.0"
    await announced.leave(oldest)
    live = catalogue.live("s")
    assert live is not None
    assert live.first_version == "2.0.0"


async def test_a_worker_whose_server_is_away_is_not_live(announced: AnnouncedFleet, catalogue: CatalogueView) -> None:
    worker = await announced.join("s")
    await announced.beat(worker, WorkerState.UNAVAILABLE)
    assert catalogue.live("s") is None
    await announced.beat(worker)
    assert catalogue.live("s") is not None


async def test_a_draining_worker_is_the_last_resort_of_its_version(
    announced: AnnouncedFleet, catalogue: CatalogueView
) -> None:
    leaving = await announced.join("s")
    await announced.drain(leaving)
    live = catalogue.live("s")
    assert live is not None
    assert live.versions["1.0.0"].instances == [leaving.instance]
    serving = await announced.join("s")
    live = catalogue.live("s")
    assert live is not None
    assert live.versions["1.0.0"].instances == [serving.instance]


async def test_offerers_are_the_servers_that_list_what_is_asked_for(
    announced: AnnouncedFleet, catalogue: CatalogueView
) -> None:
    await announced.join("a", tools=[{"name": "t"}], resources=[{"uri": "r:x"}])
    await announced.join("b", tools=[{"name": "t"}], prompts=[{"name": "p"}])
    assert set(catalogue.offerers(Query(tool="t"))) == {"a", "b"}
    assert set(catalogue.offerers(Query(prompt="p"))) == {"b"}
    assert set(catalogue.offerers(Query(resource="r:x"))) == {"a"}
    assert set(catalogue.offerers(Query(tool="p"))) == set()


async def test_workers_with_the_same_catalogue_share_one_compiled_schema(
    announced: AnnouncedFleet, catalogue: CatalogueView
) -> None:
    tool = {"name": "t", "inputSchema": {"required": ["a"]}}
    await announced.join("s", "1.0.0", tools=[tool])
    first = catalogue.servers()["s"].versions["1.0.0"].offer.tools["t"]
    with pytest.raises(InvalidArgumentsError):
        first.check({})
    await announced.join("s", "2.0.0", tools=[tool])
    versions = catalogue.servers()["s"].versions
    assert versions["1.0.0"].offer.tools["t"] is versions["2.0.0"].offer.tools["t"] is first


async def test_a_changed_catalogue_takes_the_place_of_the_old_one(
    announced: AnnouncedFleet, catalogue: CatalogueView
) -> None:
    worker = await announced.join("s", tools=[{"name": "old"}])
    assert list(catalogue.servers()["s"].versions["1.0.0"].offer.tools) == ["old"]
    await announced.leave(worker)
    await announced.join("s", tools=[{"name": "new"}])
    assert list(catalogue.servers()["s"].versions["1.0.0"].offer.tools) == ["new"]


async def test_what_a_server_listed_is_remembered_while_it_is_gone(
    announced: AnnouncedFleet, catalogue: CatalogueView
) -> None:
    worker = await announced.join("s", tools=[{"name": "t"}])
    assert set(catalogue.offerers(Query(tool="t"))) == {"s"}
    assert set(catalogue.former_offerers(Query(tool="t"))) == set()
    await announced.leave(worker)
    assert set(catalogue.offerers(Query(tool="t"))) == set()
    assert set(catalogue.former_offerers(Query(tool="t"))) == {"s"}
    assert set(catalogue.former_offerers(Query(tool="other"))) == set()
    await announced.join("s", tools=[])
    assert set(catalogue.offerers(Query(tool="t"))) == set()
    assert set(catalogue.former_offerers(Query(tool="t"))) == set()


def test_a_schema_that_is_not_enforced_is_said_so_once_and_by_its_tools_name_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    secret = {"$ref": "http://elsewhere.example/secret"}
    costly, ordinary = Tool({"name": "costly", "inputSchema": secret}), Tool({"name": "t", "inputSchema": {}})
    for tool in (costly, ordinary, costly):
        tool.check({})
    [record] = caplog.records
    assert (record.message, vars(record)["tool"]) == ("input schema is not enforced", "costly")
    assert "secret" not in str(vars(record))
