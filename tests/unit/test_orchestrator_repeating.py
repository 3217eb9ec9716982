"""A call that may have run: who is asked then, how often, and what is told when nobody answers."""

import json
import time
from typing import Any

import pytest

from services.orchestrator.breaker.guard import FAILURES
from services.orchestrator.dispatch import Call
from services.runtime.config.policy import ServerPolicy, ToolPolicy
from services.runtime.errors import (
    DeadlineExceededError,
    InternalError,
    MaybeExecutedError,
    NoWorkerError,
    OverloadedError,
    QueryError,
    ResultTooLargeError,
    UpstreamError,
    UpstreamRefusedError,
)
from tests.unit.test_orchestrator_query import _TOOL, Fate, Gateway

pytestmark = pytest.mark.anyio

REPEATABLE = {"t": ToolPolicy(idempotent=True)}


def lost(instance: str | None = "i1", error: type[MaybeExecutedError] = UpstreamError) -> MaybeExecutedError:
    """The failure of a call that `instance` had."""
    failure = error()
    failure.holder = instance
    return failure


async def gateway(*servers: str, workers: int = 1, fate: Fate | None = None) -> Gateway:
    """Servers that stand in for each other, with an idempotent tool; instances are i1, i2, … in their order."""
    first, *others = servers
    policies = {name: ServerPolicy(tools=REPEATABLE) for name in others}
    made = Gateway(**{first: ServerPolicy(tools=REPEATABLE, alternates=tuple(others))}, **policies)
    for server in servers:
        for _ in range(workers):
            await made.announced.join(server, tools=[_TOOL])
    made.workers.fate = fate or made.workers.fate
    return made


async def ask(gateway: Gateway, **query: Any) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads((await gateway.ask(**{"server": "a", "tool": "t", **query})).body)
    return answer


def retries(gateway: Gateway, reason: str) -> float | None:
    return gateway.registry.get_sample_value("mcp_retries_total", {"reason": reason})


@pytest.mark.parametrize("error", [UpstreamError, DeadlineExceededError])
async def test_a_lost_call_that_is_idempotent_goes_to_another_worker_of_the_version(
    error: type[MaybeExecutedError],
) -> None:
    made = await gateway("a", "b", workers=2, fate=lambda call: lost("i1", error) if call.attempt == 1 else None)
    answer = await ask(made)
    assert (answer["server"], answer["attempts"]) == ("a", 2)
    assert [(call.server, call.instance) for call in made.workers.calls] == [("a", None), ("a", "i2")]
    assert retries(made, error.code) == 1


async def test_where_the_version_has_no_other_worker_the_next_candidate_is_asked() -> None:
    made = await gateway("a", "b", fate=lambda call: lost() if call.server == "a" else None)
    answer = await ask(made)
    assert (answer["server"], answer["attempts"]) == ("b", 2)


async def test_another_worker_that_is_full_or_gone_is_passed_over() -> None:
    fates: dict[int, QueryError] = {1: lost("i2"), 2: OverloadedError(), 3: NoWorkerError()}
    made = await gateway("a", workers=4, fate=lambda call: fates.get(call.attempt))
    assert (await ask(made))["attempts"] == 4
    assert sorted(str(call.instance) for call in made.workers.calls[1:]) == ["i1", "i3", "i4"]
    assert retries(made, "overloaded") == retries(made, "server_unavailable") == 1


@pytest.mark.parametrize("query", [{"resource": "r:x"}, {"prompt": "p"}])
async def test_reading_is_idempotent(query: dict[str, Any]) -> None:
    made = Gateway(a=ServerPolicy())
    for _ in range(2):
        await made.announced.join("a", resources=[{"uri": "r:x"}], prompts=[{"name": "p"}])
    made.workers.fate = lambda call: lost("i1") if call.attempt == 1 else None
    assert (await made.ask(server="a", **query)).status == 200


async def test_three_lost_calls_are_enough() -> None:
    made = await gateway("a", "b", "c", workers=2)
    made.workers.fate = lambda call: lost("i1" if call.instance is None else call.instance)
    problem = await ask(made)
    assert (problem["code"], problem["executed"], problem["retryable"]) == ("upstream_error", "maybe", True)
    assert made.workers.asked == [("a", "1.0.0"), ("a", "1.0.0"), ("b", "1.0.0")]


@pytest.mark.parametrize("error", [UpstreamRefusedError, ResultTooLargeError, InternalError])
async def test_what_is_an_answer_or_a_bug_is_not_asked_for_again(error: type[QueryError]) -> None:
    made = await gateway("a", "b", workers=2, fate=lambda _: error())
    assert (await ask(made))["code"] == error.code
    assert len(made.workers.calls) == 1


async def test_a_candidate_for_which_the_call_is_not_idempotent_does_not_get_it() -> None:
    made = Gateway(a=ServerPolicy(tools=REPEATABLE, alternates=("b",)), b=ServerPolicy())
    for server in "ab":
        await made.announced.join(server, tools=[_TOOL])
    made.workers.fate = lambda call: lost() if call.server == "a" else None
    assert (await ask(made))["code"] == "upstream_error"
    assert made.workers.asked == [("a", "1.0.0")]


async def test_the_first_of_the_calls_that_may_have_run_is_told() -> None:
    def fate(call: Call) -> QueryError:
        return {"a": OverloadedError(), "b": lost("i2", DeadlineExceededError), "c": lost("i3")}[call.server]

    made = await gateway("a", "b", "c", fate=fate)
    problem = await ask(made, timeout_ms=5000)
    assert (problem["code"], problem["executed"]) == ("timeout", "maybe")
    assert made.workers.asked == [("a", "1.0.0"), ("b", "1.0.0"), ("c", "1.0.0")]


async def test_a_later_refusal_does_not_make_a_call_that_may_have_run_one_that_did_not() -> None:
    made = await gateway("a", "b", workers=2, fate=lambda call: lost() if call.attempt == 1 else OverloadedError())
    problem = await ask(made)
    assert (problem["code"], problem["executed"]) == ("upstream_error", "maybe")


async def test_nothing_is_sent_again_when_the_deadline_is_there() -> None:
    def fate(call: Call) -> QueryError:
        while time.monotonic() < call.deadline - 0.001:  # as early as a timer may be
            pass
        return lost(error=DeadlineExceededError)

    made = await gateway("a", "b", workers=2, fate=fate)
    assert (await ask(made, timeout_ms=500))["code"] == "timeout"
    assert len(made.workers.calls) == 1
    assert retries(made, "timeout") == 0


async def test_who_holds_the_callers_session_has_no_others() -> None:
    made = Gateway(
        a=ServerPolicy(tools=REPEATABLE, session="caller", alternates=("b",)), b=ServerPolicy(tools=REPEATABLE)
    )
    for server in "aaab":
        await made.announced.join(server, tools=[_TOOL])
    made.workers.fate = lambda call: lost(call.instance) if call.server == "a" else None
    assert (await ask(made))["server"] == "b"
    assert made.workers.asked == [("a", "1.0.0"), ("b", "1.0.0")]


async def test_a_fleet_that_fails_is_asked_a_fifth_more_and_not_twice() -> None:
    made = await gateway("a", workers=2)
    answers = []
    for fails in [True, False] * 150:  # a breaker stays closed
        made.workers.fate = lambda call, fails=fails: lost(call.instance or "i1") if fails else None  # type: ignore[misc]
        answers.append((await ask(made)).get("code"))
    again = len(made.workers.calls) - 300
    assert answers == ["upstream_error", None] * 150
    # Ten, and a fifth of those that had come by then.
    assert 10 + 0.2 * 280 <= again <= 10 + 0.2 * 300
    assert retries(made, "upstream_error") == again
    assert made.registry.get_sample_value("mcp_retry_budget_exhausted_total") == 150 - again


async def test_a_call_that_a_breaker_refuses_costs_no_repeat_and_counts_as_none() -> None:
    made = await gateway("a", "b")
    made.workers.fate = lambda _: lost("i2")
    for _ in range(FAILURES):
        await ask(made, server="b")
    for number in range(30):
        made.workers.fate = lambda _, fails=number % 2 == 0: lost() if fails else None  # type: ignore[misc]
        await ask(made)
    assert {server for server, _ in made.workers.asked[FAILURES:]} == {"a"}
    assert retries(made, "upstream_error") == 0
    assert made.registry.get_sample_value("mcp_retry_budget_exhausted_total") == 0


async def test_queries_that_a_breaker_refuses_do_not_raise_what_may_be_sent_again() -> None:
    made = Gateway(a=ServerPolicy(tools=REPEATABLE), b=ServerPolicy(tools=REPEATABLE))
    for server in "abb":
        await made.announced.join(server, tools=[_TOOL])
    made.workers.fate = lambda call: lost("i1" if call.server == "a" else "i2") if call.attempt == 1 else None
    for _ in range(FAILURES + 100):
        await ask(made)
    answers = [(await ask(made, server="b")).get("code") for _ in range(15)]
    # Ten, and a fifth of the five that opened the breaker and of the latest.
    assert answers.count("upstream_error") == 1
