"""Which hits are remembered by the words they were asked in, and when these words mean nothing any more."""

import json
import time
from typing import Any, cast

import pytest

from bus_schemas.queries import CacheUse, Query
from services.orchestrator.cache.cache import AnswerCache, Question
from services.orchestrator.catalogue import CatalogueView
from services.orchestrator.context import Context, Course
from services.orchestrator.dispatch import Outcome
from services.orchestrator.reading import ReadQuery
from services.orchestrator.recent import RecentHits
from services.runtime.auth.principals import ANONYMOUS, Principal
from services.runtime.config.policy import Policy, ServerPolicy
from tests.support.announced import AnnouncedFleet

pytestmark = pytest.mark.anyio

_TOOLS = [{"name": "t", "inputSchema": {"type": "object"}}]
_OUTCOME = Outcome(b"{}", "i1", upstream_us=0, queue_us=0)


class Memory:
    """A cache that has every answer in memory, or none."""

    def __init__(self) -> None:
        self.outcome: Outcome | None = _OUTCOME

    def wanted(self, question: Question) -> object:
        return question

    def in_memory(self, _wanted: object) -> Outcome | None:
        return self.outcome


class Ground:
    """One server, one worker, one caller."""

    def __init__(self, **policy: Any) -> None:
        self.announced, self.memory = AnnouncedFleet(), Memory()
        self.policy = Policy(servers={"s": ServerPolicy(**policy)})
        self.catalogue = CatalogueView(self.announced.fleet)
        self.recent = RecentHits(self.policy, self.catalogue, cast("AnswerCache", self.memory))

    async def hit(self, principal: Principal = ANONYMOUS, **more: Any) -> None:
        """Ask something, and have it answered from the cache."""
        live = self.catalogue.live("s")
        assert live is not None
        query = ReadQuery(Query(server="s", tool="t", **more), b"{}", None)
        self.recent.note(self.body(**more), query, _context(principal), live.versions[live.first_version])

    def found(self, principal: Principal = ANONYMOUS, **more: Any) -> Course | None:
        """Ask it again; return its course if it is answered at once."""
        course = Course()
        return None if self.recent.find(self.body(**more), _context(principal), course) is None else course

    @staticmethod
    def body(**more: Any) -> bytes:
        return json.dumps({"server": "s", "tool": "t", **more}).encode()


def _context(principal: Principal) -> Context:
    return Context("id", principal, time.monotonic())


def somebody(**limits: Any) -> Principal:
    return Principal(id="anne", scopes=frozenset({"query"}), servers=("*",), tools=("*",), **limits)


async def test_a_hit_is_found_by_its_words() -> None:
    ground = Ground()
    await ground.announced.join("s", tools=_TOOLS)
    assert ground.found() is None
    await ground.hit()
    course = ground.found()
    assert course is not None
    assert (course.server, course.cache) == ("s", CacheUse.HIT)
    assert ground.found(arguments={"x": 1}) is None


async def test_who_has_other_rights_is_not_told() -> None:
    ground = Ground()
    await ground.announced.join("s", tools=_TOOLS)
    anne, anne_with_other_rights = somebody(), somebody()
    await ground.hit(anne)
    assert ground.found() is None
    assert ground.found(anne_with_other_rights) is None
    assert ground.found(anne) is None  # what is not as it was is forgotten


async def test_what_memory_has_not_is_found_the_long_way() -> None:
    ground = Ground()
    await ground.announced.join("s", tools=_TOOLS)
    await ground.hit()
    ground.memory.outcome = None
    assert ground.found() is None
    ground.memory.outcome = _OUTCOME
    assert ground.found() is not None


async def test_it_holds_for_the_catalogue_in_which_it_was_found() -> None:
    ground = Ground()
    first = await ground.announced.join("s", tools=_TOOLS)
    await ground.hit()
    await ground.announced.join("s", tools=[*_TOOLS, {"name": "u"}])
    assert ground.found() is None
    await ground.hit()
    assert ground.found() is not None
    await ground.announced.drain(first)
    assert ground.found() is None


async def test_it_holds_for_the_policy_under_which_it_was_found() -> None:
    ground = Ground()
    await ground.announced.join("s", tools=_TOOLS)
    await ground.hit()
    ground.policy.servers["s"] = ServerPolicy()
    assert ground.found() is None


async def test_of_two_versions_weights_choose_each_time() -> None:
    ground = Ground()
    await ground.announced.join("s", tools=_TOOLS)
    await ground.announced.join("s", "2.0.0", tools=_TOOLS)
    await ground.hit()
    assert ground.found() is None


@pytest.mark.parametrize("policy", [{"session": "caller"}, {"forward_headers": ["x-team"]}])
async def test_answers_that_depend_on_more_than_the_words_are_not_remembered(policy: dict[str, Any]) -> None:
    ground = Ground(**policy)
    await ground.announced.join("s", tools=_TOOLS)
    await ground.hit()
    assert ground.found() is None


@pytest.mark.parametrize("limits", [{"rate_per_s": 1.0}, {"max_in_flight": 1}])
async def test_callers_with_limits_are_counted(limits: dict[str, Any]) -> None:
    ground = Ground()
    await ground.announced.join("s", tools=_TOOLS)
    anne = somebody(**limits)
    await ground.hit(anne)
    assert ground.found(anne) is None


async def test_those_noted_first_are_forgotten() -> None:
    ground = Ground()
    await ground.announced.join("s", tools=_TOOLS)
    for number in range(1100):
        await ground.hit(arguments={"number": number})
    assert ground.found(arguments={"number": 0}) is None
    assert ground.found(arguments={"number": 1099}) is not None
