"""What is listed in /mcp, for whom, in which order, and whose a name or a URI is."""

from typing import Any

import msgspec
import pytest

from services.orchestrator.catalogue import CatalogueView
from services.orchestrator.mcp.directory import Directory, Kind, Target
from services.orchestrator.mcp.eras import LEGACY, MODERN, Era
from services.orchestrator.mcp.jsonrpc import RpcError
from services.orchestrator.mcp.lists import McpLists
from services.orchestrator.mcp.names import hashed_name
from services.runtime.auth.principals import ANONYMOUS, Principal
from services.runtime.config.policy import Policy, ServerPolicy
from services.runtime.errors import AmbiguousToolError
from tests.support.announced import AnnouncedFleet

pytestmark = pytest.mark.anyio

SOME = Principal(id="some", scopes=frozenset({"query"}), servers=("a",), tools=("t1", "file:*"))


class Listing:
    """Lists over a fleet that the test announces."""

    def __init__(self, page_size: int = 100) -> None:
        self.announced = AnnouncedFleet()
        catalogue = CatalogueView(self.announced.fleet)
        self.directory = Directory(Policy(servers={"a": ServerPolicy(), "b": ServerPolicy()}), catalogue)
        self.lists = McpLists(self.directory, page_size=page_size)

    def page(
        self,
        kind: Kind = "tools",
        *,
        of: Principal = ANONYMOUS,
        server: str | None = None,
        cursor: Any = None,
        era: Era = MODERN,
    ) -> dict[str, Any]:
        page = self.lists.page(kind, of, server, cursor, era)
        decoded: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(page))
        return decoded

    def keys(self, kind: Kind, key: str, **more: Any) -> list[str]:
        return [one[key] for one in self.page(kind, **more)[kind]]


def tools(*names: str) -> list[dict[str, Any]]:
    return [{"name": name, "inputSchema": {"type": "object"}} for name in names]


async def test_tools_are_listed_by_server_and_name_whatever_the_order_in_which_they_came() -> None:
    listing = Listing()
    await listing.announced.join("b", tools=tools("t2", "t1"))
    await listing.announced.join("a", tools=tools("t3"))
    assert listing.keys("tools", "name") == ["a__t3", "b__t1", "b__t2"]
    assert listing.keys("tools", "name", server="b") == ["t1", "t2"]


async def test_a_key_sees_only_what_it_may_use() -> None:
    listing = Listing()
    uris = [{"uri": "file:x"}, {"uri": "db:x"}]
    await listing.announced.join("a", tools=tools("t1", "t2"), resources=uris)
    await listing.announced.join("b", tools=tools("t1"))
    assert listing.keys("tools", "name", of=SOME) == ["a__t1"]
    assert listing.keys("resources", "uri", of=SOME) == ["file:x"]


async def test_pages_follow_each_other_to_the_end_also_when_something_goes_in_between() -> None:
    listing = Listing(page_size=2)
    await listing.announced.join("a", tools=tools("t1", "t2", "t3"))
    worker = await listing.announced.join("b", tools=tools("t1"))
    first = listing.page()
    assert len(first["tools"]) == 2
    await listing.announced.leave(worker)
    await listing.announced.join("b", tools=tools("t9"))
    second = listing.page(cursor=first["nextCursor"])
    assert [tool["name"] for tool in second["tools"]] == ["a__t3", "b__t9"]
    assert "nextCursor" not in second


@pytest.mark.parametrize("cursor", ["", "x", 1, "ü", "dG9vbHM=", "cHJvbXB0cwphCnQx"])
async def test_a_cursor_that_is_not_of_the_list_is_refused(cursor: Any) -> None:
    with pytest.raises(RpcError) as caught:
        Listing().page(cursor=cursor)
    assert caught.value.code == -32602


async def test_a_name_that_is_too_long_is_shortened_and_leads_back() -> None:
    listing = Listing()
    long = "t" * 80
    await listing.announced.join("a", tools=tools(long))
    shared = hashed_name("a", long)
    assert listing.keys("tools", "name") == [shared]
    assert listing.directory.named(shared) == Target("a", long)


async def test_a_server_that_is_away_keeps_its_names_and_is_not_listed() -> None:
    listing = Listing()
    long = "t" * 80
    worker = await listing.announced.join("a", tools=tools("t1", long))
    assert listing.directory.named("a__t1") == Target("a", "t1")
    await listing.announced.leave(worker)
    assert listing.page()["tools"] == []
    assert listing.directory.named("a__t1") == Target("a", "t1")
    assert listing.directory.named(hashed_name("a", long)) == Target("a", long)
    assert listing.directory.named("nobody__t1") is None


async def test_a_uri_of_one_server_is_its_own_and_of_several_is_prefixed() -> None:
    listing = Listing()
    await listing.announced.join("a", resources=[{"uri": "x:1"}, {"uri": "x:both"}])
    await listing.announced.join("b", resources=[{"uri": "x:both"}, {"uri": "busbar+a:x"}])
    assert listing.keys("resources", "uri") == ["x:1", "busbar+a:x:both", "busbar+b:busbar+a:x", "busbar+b:x:both"]
    assert listing.directory.resource("x:1") == Target("a", "x:1")
    assert listing.directory.resource("busbar+b:x:both") == Target("b", "x:both")
    assert listing.directory.resource("x:both") == Target(None, "x:both")
    assert listing.directory.resource("y:") is None


async def test_a_uri_that_nobody_lists_is_of_the_template_that_says_most() -> None:
    listing = Listing()
    await listing.announced.join("a", templates=[{"uriTemplate": "notes://{rest}"}])
    await listing.announced.join("b", templates=[{"uriTemplate": "notes://work/{rest}"}, {"uriTemplate": "s:{x}"}])
    assert listing.directory.resource("notes://home/1") == Target("a", "notes://home/1")
    assert listing.directory.resource("notes://work/1") == Target("b", "notes://work/1")
    await listing.announced.join("a", "2.0.0", templates=[{"uriTemplate": "s:{y}"}])
    with pytest.raises(AmbiguousToolError):
        listing.directory.resource("s:1")


@pytest.mark.parametrize(("era", "kept"), [(MODERN, True), (LEGACY, False)])
async def test_an_output_schema_that_is_of_no_object_is_for_the_new_era_alone(era: Era, kept: bool) -> None:
    listing = Listing()
    await listing.announced.join("a", tools=[{"name": "t", "inputSchema": {}, "outputSchema": {"type": "array"}}])
    (tool,) = listing.page(era=era)["tools"]
    assert ("outputSchema" in tool) is kept
