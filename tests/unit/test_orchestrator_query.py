"""One query against many candidates: who is asked, what is told when nobody answers."""

import json
import math
import time
from collections.abc import Callable, Iterable
from typing import Any, cast

import pytest

from bus_schemas.digests import caller_digest
from services.orchestrator.admission import Admission
from services.orchestrator.answers import Answers
from services.orchestrator.attempts import Attempts
from services.orchestrator.breaker.board import Board
from services.orchestrator.breaker.metrics import BreakerMetrics
from services.orchestrator.cache.cache import AnswerCache
from services.orchestrator.cache.l1 import L1
from services.orchestrator.cache.metrics import CacheMetrics
from services.orchestrator.cache.shelf import Shelf
from services.orchestrator.cache.store import CacheStore
from services.orchestrator.catalogue import CatalogueView, LiveVersion
from services.orchestrator.context import Context
from services.orchestrator.continuations import Continuations
from services.orchestrator.dispatch import Call, Dispatcher, NobodyThereError, Outcome
from services.orchestrator.flow_metrics import FlowMetrics
from services.orchestrator.idempotency.ledger import IdempotencyLedger
from services.orchestrator.limits import Limits
from services.orchestrator.lists import Lists
from services.orchestrator.metrics import QueryMetrics
from services.orchestrator.observer import Observer
from services.orchestrator.pins import Pins, rendezvous
from services.orchestrator.query import QueryService, Reply
from services.orchestrator.recent import RecentHits
from services.orchestrator.repeating import Repeats
from services.orchestrator.retry_budget import RetryBudget
from services.orchestrator.taken_out import TakenOut
from services.orchestrator.tool_errors import is_tool_error
from services.runtime.auth.principals import ANONYMOUS, Principal
from services.runtime.breakers import BreakerWords
from services.runtime.config.policy import Policy, ServerPolicy, ToolPolicy
from services.runtime.definition_pins import DefinitionPins
from services.runtime.errors import (
    DeadlineExceededError,
    NoWorkerError,
    OverloadedError,
    QueryError,
    UpstreamError,
)
from services.runtime.maintenance import MaintenanceWords
from services.runtime.metrics import new_registry
from services.runtime.store import Store
from tests.support.announced import AnnouncedFleet

pytestmark = pytest.mark.anyio

Fate = Callable[[Call], QueryError | Exception | None]


class Workers:
    """Takes the calls of a query service; what becomes of each is the test's word."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.fate: Fate = lambda _: None
        self.result = b'{"content":[]}'

    async def call(self, call: Call) -> Outcome:
        self.calls.append(call)
        if (error := self.fate(call)) is not None:
            raise error
        return Outcome(self.result, "i1", 1000, 10, call.is_of_tool and is_tool_error(self.result))

    @property
    def asked(self) -> list[tuple[str, str]]:
        """Servers and versions in the order in which they were asked."""
        return [(call.server, call.version) for call in self.calls]


class Givers:
    """Knows which worker gave out every request state, if one did."""

    def __init__(self) -> None:
        self.instance: str | None = None

    async def giver(
        self, versions: Iterable[LiveVersion], request_state: str, deadline: float
    ) -> tuple[LiveVersion, str] | None:
        for version in versions:
            if self.instance in version.instances:
                return version, self.instance
        return None


class Gateway:
    """A query service over announced workers."""

    def __init__(self, **policies: ServerPolicy) -> None:
        self.announced = AnnouncedFleet()
        self.workers = Workers()
        self.givers = Givers()
        self.registry = new_registry()
        policy, self.pins = Policy(servers=policies), DefinitionPins()
        self.policy = policy
        self.catalogue = catalogue = CatalogueView(self.announced.fleet, pins=self.pins)
        self.lists = Lists(policy, catalogue)
        shelf = Shelf(CacheStore(Store(None), "orchestrator"), L1(time.monotonic), is_bus_up=lambda: True)
        cache = AnswerCache(policy, shelf, CacheMetrics(self.registry))
        flow_metrics = FlowMetrics(self.registry)
        repeats = Repeats(policy, RetryBudget(time.monotonic), flow_metrics, time.monotonic)
        self.admission = Admission(most_in_flight=100, most_held_bytes=1_000_000, metrics=flow_metrics)
        board = Board(
            policy,
            self.announced.fleet,
            BreakerWords(),
            BreakerMetrics(self.registry),
            instance="orchestrator",
            open_s=30,
        )
        dispatcher = cast("Dispatcher", self.workers)
        answers = Answers(policy, cache, board, dispatcher, repeats=repeats, admission=self.admission)
        attempts = Attempts(
            policy,
            catalogue,
            answers,
            Pins(self.announced.fleet, idle_s=300),
            cast("Continuations", self.givers),
        )
        observer = Observer(QueryMetrics(self.registry, policies, connected=lambda: 0), catalogue)
        limits, ledger = Limits(time.monotonic), IdempotencyLedger(Store(None))
        self.maintenance = MaintenanceWords()
        taken_out = TakenOut(self.maintenance, catalogue, answers)
        self.queries = QueryService(
            policy,
            catalogue,
            attempts,
            taken_out,
            limits,
            ledger=ledger,
            observer=observer,
            recent=RecentHits(policy, catalogue, cache),
        )

    async def ask(
        self, *, principal: Principal = ANONYMOUS, largest_reply_bytes: float = math.inf, **query: Any
    ) -> Reply:
        context = Context("id", principal, time.monotonic(), largest_reply_bytes=largest_reply_bytes)
        return await self.queries.answer(json.dumps(query).encode(), context)

    async def code(self, **query: Any) -> str:
        """Ask; return the code of the problem."""
        return str(json.loads((await self.ask(**query)).body)["code"])

    def errors(self, server: str, error_type: str) -> float | None:
        labels = {"server": server, "error_type": error_type}
        return self.registry.get_sample_value("mcp_query_errors_total", labels)


_TOOL = {"name": "t", "inputSchema": {"type": "object"}}
_STRICT = {"name": "t", "inputSchema": {"type": "object", "required": ["x"]}}


async def test_the_first_candidate_that_is_live_answers() -> None:
    gateway = Gateway(a=ServerPolicy(alternates=("b", "c")), b=ServerPolicy(), c=ServerPolicy())
    await gateway.announced.join("b", tools=[{"name": "other"}])
    await gateway.announced.join("c", tools=[_TOOL])
    reply = await gateway.ask(server="a", tool="t")
    assert (reply.status, json.loads(reply.body)["server"]) == (200, "c")
    assert gateway.workers.asked == [("c", "1.0.0")]


async def test_where_candidates_fail_for_different_reasons_the_first_ones_is_told() -> None:
    gateway = Gateway(a=ServerPolicy(alternates=("b", "c")), b=ServerPolicy(), c=ServerPolicy())
    assert await gateway.code(server="a", tool="t") == "server_unavailable"
    await gateway.announced.join("b", tools=[{"name": "other"}])
    assert await gateway.code(server="a", tool="t") == "server_unavailable"
    await gateway.announced.join("a", tools=[_STRICT])
    assert await gateway.code(server="a", tool="t") == "invalid_arguments"
    gateway.workers.fate = lambda _: OverloadedError()
    assert await gateway.code(server="a", tool="t", arguments={"x": 1}) == "overloaded"


async def test_a_candidate_whose_schema_refuses_the_arguments_leaves_them_to_the_next() -> None:
    gateway = Gateway(a=ServerPolicy(alternates=("b",)), b=ServerPolicy())
    await gateway.announced.join("a", tools=[_STRICT])
    await gateway.announced.join("b", tools=[_TOOL])
    assert json.loads((await gateway.ask(server="a", tool="t")).body)["server"] == "b"


@pytest.mark.parametrize("error", [DeadlineExceededError(), UpstreamError()])
async def test_a_call_that_may_have_run_is_not_given_to_another(error: QueryError) -> None:
    gateway = Gateway(a=ServerPolicy(alternates=("b",)), b=ServerPolicy())
    for server in "ab":
        await gateway.announced.join(server, tools=[_TOOL])
        await gateway.announced.join(server, "2.0.0", tools=[_TOOL])
    gateway.workers.fate = lambda _: error
    assert await gateway.code(server="a", tool="t") == error.code
    assert gateway.workers.asked == [("a", "1.0.0")]


async def test_without_responders_the_other_version_is_asked_and_then_the_alternate() -> None:
    gateway = Gateway(a=ServerPolicy(alternates=("b",)), b=ServerPolicy())
    for version in ("1.0.0", "2.0.0"):
        await gateway.announced.join("a", version, tools=[_TOOL])
    await gateway.announced.join("b", tools=[_TOOL])
    gateway.workers.fate = lambda call: NoWorkerError() if call.server == "a" else None
    reply = await gateway.ask(server="a", tool="t")
    assert gateway.workers.asked == [("a", "1.0.0"), ("a", "2.0.0"), ("b", "1.0.0")]
    assert [call.attempt for call in gateway.workers.calls] == [1, 2, 3]
    assert json.loads(reply.body)["attempts"] == 3


async def test_a_full_worker_does_not_speak_for_the_others_of_its_queue_group() -> None:
    gateway = Gateway(a=ServerPolicy())
    for _ in range(2):
        await gateway.announced.join("a", tools=[_TOOL])
    gateway.workers.fate = lambda call: OverloadedError() if call.attempt == 1 else None
    assert (await gateway.ask(server="a", tool="t")).status == 200
    gateway.workers.calls.clear()
    gateway.workers.fate = lambda _: OverloadedError()
    assert await gateway.code(server="a", tool="t") == "overloaded"
    assert len(gateway.workers.calls) == 2


async def test_a_version_without_weight_takes_no_query_that_the_first_does_not_know() -> None:
    gateway = Gateway(a=ServerPolicy())
    await gateway.announced.join("a", "1.0.0", tools=[{"name": "old"}])
    await gateway.announced.join("a", "2.0.0", tools=[_TOOL])
    assert await gateway.code(server="a", tool="t") == "tool_not_found"
    assert gateway.workers.asked == []


async def test_a_resource_that_nobody_lists_is_asked_for_and_a_prompt_is_not() -> None:
    gateway = Gateway(a=ServerPolicy())
    await gateway.announced.join("a", tools=[_TOOL])
    assert (await gateway.ask(server="a", resource="r:hidden")).status == 200
    assert await gateway.code(server="a", prompt="hidden") == "prompt_not_found"


async def test_a_tool_that_nobody_lists_is_not_found_only_if_somebody_lives() -> None:
    gateway = Gateway(a=ServerPolicy())
    assert await gateway.code(tool="t") == "server_unavailable"
    await gateway.announced.join("b", tools=[{"name": "other"}])
    assert await gateway.code(tool="t") == "tool_not_found"


async def test_a_tool_whose_only_server_is_gone_is_unavailable_and_not_unknown() -> None:
    gateway = Gateway(a=ServerPolicy())
    await gateway.announced.join("b", tools=[{"name": "other"}])
    worker = await gateway.announced.join("a", tools=[_TOOL])
    assert (await gateway.ask(tool="t")).status == 200
    await gateway.announced.leave(worker)
    assert await gateway.code(tool="t") == "server_unavailable"
    stranger = Principal(id="k", scopes=frozenset({"query"}), servers=("b",), tools=("*",))
    assert await gateway.code(tool="t", principal=stranger) == "tool_not_found"


async def test_whether_a_lost_call_may_be_sent_again_is_the_operators_word_or_a_trusted_hint() -> None:
    hinted = {**_TOOL, "annotations": {"idempotentHint": True}}
    said = {"t": ToolPolicy(idempotent=True)}
    denied = {"t": ToolPolicy(idempotent=False)}
    gateway = Gateway(
        plain=ServerPolicy(),
        said=ServerPolicy(tools=said),
        trusted=ServerPolicy(trust_hints=True),
        denied=ServerPolicy(trust_hints=True, tools=denied),
    )
    gateway.workers.fate = lambda _: UpstreamError()
    retryable = {}
    for server in ("plain", "said", "trusted", "denied"):
        await gateway.announced.join(server, tools=[hinted])
        retryable[server] = json.loads((await gateway.ask(server=server, tool="t")).body)["retryable"]
    assert retryable == {"plain": False, "said": True, "trusted": True, "denied": False}
    assert json.loads((await gateway.ask(server="plain", resource="r:x")).body)["retryable"] is True


async def test_a_bug_of_ours_is_an_internal_error_without_its_text() -> None:
    gateway = Gateway(a=ServerPolicy())
    await gateway.announced.join("a", tools=[_TOOL])
    gateway.workers.fate = lambda _: RuntimeError("http://secret.example")
    reply = await gateway.ask(server="a", tool="t")
    assert (reply.status, json.loads(reply.body)["code"]) == (500, "internal")
    assert b"secret" not in reply.body
    assert gateway.errors("a", "internal") == 1


async def test_metrics_name_the_server_that_was_asked_last_and_never_one_that_nobody_knows() -> None:
    gateway = Gateway(a=ServerPolicy())
    await gateway.code(server="stranger", tool="t")
    assert gateway.errors("unknown", "server_not_found") == 1
    await gateway.announced.join("announced", tools=[_TOOL])
    gateway.workers.fate = lambda _: UpstreamError()
    await gateway.code(server="announced", tool="t")
    assert gateway.errors("announced", "upstream_error") == 1
    assert gateway.errors("stranger", "server_not_found") is None


async def test_a_tool_error_is_counted_as_one_and_answered_as_a_success() -> None:
    gateway = Gateway(a=ServerPolicy())
    await gateway.announced.join("a", tools=[_TOOL])
    gateway.workers.result = b'{"content":[],"isError":true}'
    assert (await gateway.ask(server="a", tool="t")).status == 200
    assert gateway.errors("a", "tool_error") == 1
    assert (await gateway.ask(server="a", resource="x:y")).status == 200  # a resource may hold what it likes
    assert gateway.errors("a", "tool_error") == 1


async def test_an_answer_too_large_to_deliver_is_counted_once_and_as_its_servers() -> None:
    gateway = Gateway(a=ServerPolicy())
    await gateway.announced.join("a", tools=[_TOOL])
    gateway.workers.result = b'{"content":[],"x":"' + b"x" * 1000 + b'"}'
    size = len((await gateway.ask(server="a", tool="t", largest_reply_bytes=2000)).body)
    assert size < 2000
    assert json.loads((await gateway.ask(server="a", tool="t", largest_reply_bytes=1000)).body)["code"] == (
        "result_too_large"
    )
    assert gateway.errors("a", "result_too_large") == 1
    assert gateway.registry.get_sample_value("mcp_query_duration_seconds_count", {"server": "a"}) == 2
    assert gateway.registry.get_sample_value("mcp_query_duration_seconds_count", {"server": "unknown"}) == 0


async def test_a_callers_own_session_is_asked_where_it_is() -> None:
    gateway = Gateway(a=ServerPolicy(session="caller"))
    workers = [await gateway.announced.join("a", tools=[_TOOL]) for _ in range(3)]
    for worker in workers:
        gateway.workers.calls.clear()
        for other in workers:
            callers = [caller_digest(ANONYMOUS.id)] if other is worker else []
            await gateway.announced.beat(other.model_copy(update={"callers": callers}))
        assert (await gateway.ask(server="a", tool="t")).status == 200
        assert [(call.instance, call.session_lost) for call in gateway.workers.calls] == [(worker.instance, False)]


async def test_without_a_session_every_orchestrator_would_choose_the_same_worker() -> None:
    gateway = Gateway(a=ServerPolicy(session="caller"))
    instances = [(await gateway.announced.join("a", tools=[_TOOL])).instance for _ in range(3)]
    gateway.workers.fate = lambda _: OverloadedError()
    assert await gateway.code(server="a", tool="t") == "overloaded"
    assert [call.instance for call in gateway.workers.calls] == rendezvous(ANONYMOUS.id, instances)
    assert not any(call.session_lost for call in gateway.workers.calls)


async def test_where_nobody_takes_calls_for_a_session_any_more_its_heir_is_told_so() -> None:
    gateway = Gateway(a=ServerPolicy(session="caller"))
    holder, heir = [await gateway.announced.join("a", tools=[_TOOL]) for _ in range(2)]
    await gateway.announced.beat(holder.model_copy(update={"callers": [caller_digest(ANONYMOUS.id)]}))
    gateway.workers.fate = lambda call: NobodyThereError() if call.instance == holder.instance else UpstreamError()
    assert await gateway.code(server="a", tool="t") == "upstream_error"
    assert [(call.instance, call.session_lost) for call in gateway.workers.calls] == [
        (holder.instance, False),
        (heir.instance, True),
    ]


async def test_a_holder_whose_server_is_away_keeps_its_callers() -> None:
    gateway = Gateway(a=ServerPolicy(session="caller"))
    holder, _ = [await gateway.announced.join("a", tools=[_TOOL]) for _ in range(2)]
    await gateway.announced.beat(holder.model_copy(update={"callers": [caller_digest(ANONYMOUS.id)]}))
    gateway.workers.fate = lambda _: NoWorkerError()
    assert await gateway.code(server="a", tool="t") == "server_unavailable"
    assert {call.instance for call in gateway.workers.calls} == {holder.instance}


async def test_a_continuation_goes_to_the_giver_of_its_state_and_only_without_one_to_anybody() -> None:
    gateway = Gateway(a=ServerPolicy(alternates=("b",)), b=ServerPolicy())
    await gateway.announced.join("a", tools=[_TOOL])
    giver = await gateway.announced.join("b", "2.0.0", tools=[_TOOL])
    gateway.givers.instance = giver.instance
    reply = json.loads((await gateway.ask(server="a", tool="t", request_state="s")).body)
    assert (reply["server"], reply["version"], reply["attempts"]) == ("b", "2.0.0", 1)

    gateway.workers.calls.clear()
    gateway.workers.fate = lambda call: NobodyThereError() if call.instance else None
    reply = json.loads((await gateway.ask(server="a", tool="t", request_state="s")).body)
    assert (reply["server"], reply["attempts"]) == ("a", 2)
    assert [call.instance for call in gateway.workers.calls] == [giver.instance, None]


@pytest.mark.parametrize("error", [DeadlineExceededError(), UpstreamError(), OverloadedError()])
async def test_a_continuation_that_the_giver_of_its_state_had_is_not_sent_twice(error: QueryError) -> None:
    gateway = Gateway(a=ServerPolicy(alternates=("b",)), b=ServerPolicy())
    for server in "aab":
        gateway.givers.instance = (await gateway.announced.join(server, tools=[_TOOL])).instance
    gateway.workers.fate = lambda _: error
    assert await gateway.code(server="a", tool="t", request_state="s") == error.code
    assert [call.instance for call in gateway.workers.calls] == [gateway.givers.instance]
