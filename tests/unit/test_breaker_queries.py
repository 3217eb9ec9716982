"""Queries that meet an open breaker: who answers then, and what is told when nobody does."""

import json
from collections import Counter
from typing import Any

import pytest

from services.orchestrator import catalogue
from services.orchestrator.answers import Answers
from services.orchestrator.breaker.guard import FAILURES
from services.orchestrator.dispatch import Call
from services.runtime.config.policy import ServerPolicy, ToolPolicy
from services.runtime.errors import NoWorkerError, OverloadedError, QueryError, UpstreamError
from tests.unit.test_orchestrator_query import _TOOL, Gateway

pytestmark = pytest.mark.anyio


async def opened(*versions: str, failing: str | None = None) -> Gateway:
    """A server whose breaker has just opened (of one version or of all), before an alternate that is well."""
    gateway = Gateway(a=ServerPolicy(alternates=("b",)), b=ServerPolicy())
    for version in versions or ("1.0.0",):
        await gateway.announced.join("a", version, tools=[_TOOL])
    await gateway.announced.join("b", tools=[_TOOL])
    gateway.workers.fate = lambda call: (
        UpstreamError() if call.server == "a" and failing in (None, call.version) else None
    )
    while gateway.workers.asked.count(("a", failing or "1.0.0")) < FAILURES:
        await ask(gateway)
    gateway.workers.calls.clear()
    return gateway


async def ask(gateway: Gateway, **query: Any) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((await gateway.ask(server="a", tool="t", **query)).body)
    return told


async def test_the_alternate_answers_at_once_and_the_failing_server_is_not_asked() -> None:
    gateway = await opened()
    told = await ask(gateway)
    assert (told["server"], told["attempts"]) == ("b", 1)
    assert gateway.workers.asked == [("b", "1.0.0")]


async def test_where_every_candidate_is_refused_the_problem_says_so_in_our_words_and_when_to_ask_again() -> None:
    gateway = await opened()

    def fate(call: Call) -> QueryError:
        return UpstreamError() if call.server == "a" else OverloadedError()

    gateway.workers.fate = fate
    reply = await gateway.ask(server="a", tool="t")
    problem = json.loads(reply.body)
    assert (reply.status, problem["code"], problem["executed"], problem["retryable"]) == (
        503,
        "circuit_open",
        "no",
        True,
    )
    assert problem["detail"] == "The server failed repeatedly and is left alone for a while."
    assert 25 < int(reply.headers["retry-after"]) <= 33


async def test_a_version_that_has_no_weight_does_not_stand_in_for_one_whose_breaker_is_open() -> None:
    gateway = await opened("1.0.0", "2.0.0")
    await ask(gateway)
    assert gateway.workers.asked == [("b", "1.0.0")]


async def weighted(monkeypatch: pytest.MonkeyPatch, weights: dict[str, float]) -> Gateway:
    """A server of several versions with these weights, one without, and an alternate; the breaker of 1.0.0 is open."""
    monkeypatch.setattr(catalogue, "effective_weights", lambda *_: weights)
    gateway = await opened(*weights, "9.0.0", failing="1.0.0")
    gateway.workers.fate = lambda _: None
    return gateway


async def versions(gateway: Gateway, queries: int) -> list[str]:
    """Ask so many times; return who was asked."""
    gateway.workers.calls.clear()
    for _ in range(queries):
        await ask(gateway)
    return [version if server == "a" else server for server, version in gateway.workers.asked]


async def test_a_version_whose_breaker_is_open_is_passed_over_among_those_with_weight(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gateway = await weighted(monkeypatch, {"1.0.0": 60, "2.0.0": 30, "3.0.0": 10})
    asked = await versions(gateway, 40)
    assert set(asked) == {"2.0.0", "3.0.0"}
    assert abs(asked.count("2.0.0") - 30) <= 1
    assert gateway.registry.get_sample_value("mcp_retries_total", {"reason": "circuit_open"}) == 0


async def test_weights_are_exact_again_when_it_has_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = await weighted(monkeypatch, {"1.0.0": 75, "2.0.0": 25})
    assert set(await versions(gateway, 7)) == {"2.0.0"}
    await gateway.announced.join("a", "1.0.0", tools=[_TOOL])  # permits a probe
    await versions(gateway, 1)
    for _ in range(5):
        assert Counter(await versions(gateway, 4)) == {"1.0.0": 3, "2.0.0": 1}


async def test_where_no_other_version_with_weight_takes_the_query_the_open_breaker_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gateway = await weighted(monkeypatch, {"1.0.0": 50, "2.0.0": 50})
    gateway.workers.fate = lambda _: NoWorkerError()
    assert (await ask(gateway))["code"] == "circuit_open"
    assert gateway.workers.asked == [("a", "2.0.0"), ("b", "1.0.0")]


async def test_a_version_whose_breaker_opens_after_it_was_chosen_leaves_the_query_to_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gateway = await weighted(monkeypatch, {"1.0.0": 50, "2.0.0": 50})
    monkeypatch.setattr(Answers, "lets_through", lambda *_: True)
    assert await versions(gateway, 4) == ["2.0.0"] * 4


async def test_a_call_that_opens_it_and_may_have_run_is_told_as_such_and_not_as_refused() -> None:
    """The call that failed may have run, so what is told of it is not that it did not."""
    gateway = Gateway(a=ServerPolicy(tools={"t": ToolPolicy(idempotent=True)}))
    for _ in range(2):
        await gateway.announced.join("a", tools=[_TOOL])

    def fate(call: Call) -> QueryError:
        error = UpstreamError()
        error.holder = call.instance or "i1"
        return error

    gateway.workers.fate = fate
    codes = [(await ask(gateway))["code"] for _ in range(4)]
    # Each of the first two is asked of both workers; the fifth failure opens it, and the sixth call is not made.
    assert len(gateway.workers.calls) == FAILURES
    assert codes == ["upstream_error"] * 3 + ["circuit_open"]
