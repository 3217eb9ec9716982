"""What there is, as much of it as the caller may use, page by page."""

import base64
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.orchestrator.catalogue import CatalogueView
from services.orchestrator.lists import Lists, Selection
from services.runtime.auth.principals import ANONYMOUS, Principal
from services.runtime.config.policy import Policy, ServerPolicy
from services.runtime.errors import InvalidRequestError
from tests.support.announced import AnnouncedFleet

pytestmark = pytest.mark.anyio


def _principal(servers: tuple[str, ...] = ("*",), tools: tuple[str, ...] = ("*",)) -> Principal:
    return Principal(id="caller", scopes=frozenset({"query"}), servers=servers, tools=tools)


def _lists(announced: AnnouncedFleet, *configured: str) -> Lists:
    policy = Policy(servers={name: ServerPolicy() for name in configured})
    return Lists(policy, CatalogueView(announced.fleet))


def _names(lists: Lists, principal: Principal = ANONYMOUS, **wanted: Any) -> list[tuple[str, str]]:
    page, _ = lists.page("tool", principal, Selection(**wanted))
    return [(server, str(tool["name"])) for server, _, tool in page]


async def _two_servers() -> AnnouncedFleet:
    announced = AnnouncedFleet()
    await announced.join(
        "a", tools=[{"name": "find", "title": "Seek"}, {"name": "secret_wipe"}], resources=[{"uri": "r://one"}]
    )
    await announced.join("b", tools=[{"name": "tell", "description": "Says WHAT it FOUND"}], prompts=[{"name": "p"}])
    return announced


async def test_every_configured_or_live_server_is_listed_by_name_with_its_versions() -> None:
    announced = await _two_servers()
    await announced.join("b", "2.0.0")
    listed = _lists(announced, "b", "down").servers(ANONYMOUS).servers
    assert [(server.name, server.status, server.tools) for server in listed] == [
        ("a", "connected", 2),
        ("b", "connected", 1),
        ("down", "disconnected", 0),
    ]
    assert [(one.version, one.weight, one.instances) for one in listed[1].versions] == [
        ("1.0.0", 100.0, 1),
        ("2.0.0", 0.0, 1),
    ]


async def test_a_key_sees_what_it_may_use_and_nothing_else() -> None:
    lists = _lists(await _two_servers(), "a", "b", "down")
    narrow = _principal(servers=("a",), tools=("find", "r://*"))
    assert [(server.name, server.tools) for server in lists.servers(narrow).servers] == [("a", 1)]
    assert _names(lists, narrow) == [("a", "find")]
    assert len(lists.page("resource", narrow, Selection())[0]) == 1
    assert lists.page("prompt", narrow, Selection()) == ([], None)
    assert _names(lists, _principal(servers=())) == []


async def test_lists_may_be_narrowed_to_a_server_and_to_a_text() -> None:
    lists = _lists(await _two_servers())
    assert _names(lists, server="b") == [("b", "tell")]
    assert _names(lists, server="nobody") == []
    assert _names(lists, q="FIND") == [("a", "find")]
    assert _names(lists, q="seek") == [("a", "find")]
    assert _names(lists, q="found") == [("b", "tell")]
    assert _names(lists, q="") == _names(lists)
    assert _names(lists, q="nothing like it") == []


async def test_definitions_are_the_servers_own_unknown_fields_included() -> None:
    announced = AnnouncedFleet()
    tool = {"name": "t", "inputSchema": {"type": "object"}, "vendor": {"x": [1, None]}}
    await announced.join("s", "1.2.3", tools=[tool])
    page, after = _lists(announced).page("tool", ANONYMOUS, Selection())
    assert (page, after) == ([("s", "1.2.3", tool)], None)


async def test_of_two_versions_the_one_with_the_traffic_is_shown() -> None:
    announced = AnnouncedFleet()
    first = await announced.join("s", "1.0.0", tools=[{"name": "old"}])
    await announced.join("s", "2.0.0", tools=[{"name": "new"}])
    lists = _lists(announced)
    assert _names(lists) == [("s", "old")]
    await announced.leave(first)
    assert _names(lists) == [("s", "new")]


@given(
    catalogues=st.dictionaries(
        st.sampled_from(["a", "a_", "ab", "b"]),
        st.sets(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6), max_size=8),
    ),
    limit=st.integers(1, 5),
)
def test_following_the_cursor_shows_everything_once(catalogues: dict[str, set[str]], limit: int) -> None:
    everything = [(server, tool) for server, tools in catalogues.items() for tool in tools]

    async def follow() -> list[tuple[str, str]]:
        announced = AnnouncedFleet()
        for server, tools in catalogues.items():
            await announced.join(server, tools=[{"name": tool} for tool in tools])
        lists = _lists(announced)
        seen: list[tuple[str, str]] = []
        cursor: str | None = None
        while True:
            page, cursor = lists.page("tool", ANONYMOUS, Selection(limit=limit, cursor=cursor))
            assert len(page) <= limit
            seen += [(server, str(tool["name"])) for server, _, tool in page]
            if cursor is None:
                return seen
            assert len(page) == limit
            assert len(seen) < len(everything)

    assert anyio.run(follow) == sorted(everything)


async def test_a_page_goes_on_where_the_one_before_ended_although_the_catalogue_has_changed() -> None:
    announced = AnnouncedFleet()
    lists = _lists(announced)
    worker = await announced.join("s", tools=[{"name": name} for name in "bdf"])
    page, cursor = lists.page("tool", ANONYMOUS, Selection(limit=2))
    assert [tool["name"] for _, _, tool in page] == ["b", "d"]
    await announced.leave(worker)
    await announced.join("s", tools=[{"name": name} for name in "aceg"])
    assert _names(lists, cursor=cursor) == [("s", "e"), ("s", "g")]


@pytest.mark.parametrize(
    "cursor",
    ["x", "####", "AAAA=A", "é", "\n", base64.b64encode(b"\xff\xff").decode(), base64.b64encode(b"ab").decode()],
)
async def test_a_cursor_that_is_not_ours_is_an_invalid_request(cursor: str) -> None:
    lists = _lists(await _two_servers())
    with pytest.raises(InvalidRequestError) as refusal:
        lists.page("tool", ANONYMOUS, Selection(cursor=cursor))
    assert [(error.pointer, error.keyword) for error in refusal.value.errors] == [("/cursor", "format")]
