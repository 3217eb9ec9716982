"""Queries that meet an open breaker: who answers then, and what is told when nobody does."""

import json
from typing import Any

import pytest

from services.orchestrator.breaker.guard import FAILURES
from services.orchestrator.dispatch import Call
from services.runtime.config.policy import ServerPolicy, ToolPolicy
from services.runtime.errors import OverloadedError, QueryError, UpstreamError
from tests.unit.test_orchestrator_query import _TOOL, Gateway

pytestmark = pytest.mark.anyio


async def opened(*versions: str) -> Gateway:
    """A server whose breaker has just opened, before an alternate that is well."""
    gateway = Gateway(a=ServerPolicy(alternates=("b",)), b=ServerPolicy())
    for version in versions or ("1.0.0",):
        await gateway.announced.join("a", version, tools=[_TOOL])
    await gateway.announced.join("b", tools=[_TOOL])
    gateway.workers.fate = lambda call: UpstreamError() if call.server == "a" else None
    for _ in range(FAILURES):
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
