"""Answers that are given again, over the whole path: counted at the server, from two orchestrators."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.support.fleet import Answered, Fleet, fleet, python_server
from tests.support.mcp_servers.clock import PRIVATE, PUBLIC, UNCACHED
from tests.support.records import read_ledger
from tests.support.servers import ValkeyServer

pytestmark = pytest.mark.anyio

CLOCK = "tests.support.mcp_servers.clock"
PUBLIC_TOOL = {"now": {"cache_ttl_s": 60, "cache_scope": "public"}}


def clock(ledger: Path, **policy: Any) -> dict[str, Any]:
    return python_server(CLOCK, "--ledger", str(ledger), **policy)


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache") / "ledger.jsonl"


@pytest.fixture(scope="module")
async def running(ledger: Path, valkey_process: ValkeyServer) -> AsyncIterator[Fleet]:
    config = {
        "shared": clock(ledger, tools=PUBLIC_TOOL, version="1.2.3"),
        "own": clock(ledger, tools={"now": {"cache_ttl_s": 60}}),
        "plain": clock(ledger),
        "believed": clock(ledger, trust_hints=True),
        "short": clock(ledger, tools={"now": {"cache_ttl_s": 0.5, "cache_scope": "public"}}),
        "narrow": clock(ledger, tools=PUBLIC_TOOL, max_in_flight=1),
        "gone": clock(ledger, alternates=["shared"], tools=PUBLIC_TOOL),
    }
    keys: dict[str, dict[str, Any]] = {f"caller-{number}": {} for number in range(100)}
    workers = dict.fromkeys([name for name in config if name != "gone"], 1)
    async with fleet(config, orchestrators=2, workers=workers, keys=keys, store=valkey_process) as running:
        yield running


def now(server: str, key: str, *, ms: int = 0, fail: str = "", **fields: Any) -> dict[str, Any]:
    return {"server": server, "tool": "now", "arguments": {"key": key, "ms": ms, "fail": fail}, **fields}


def calls(ledger: Path, key: str) -> int:
    return sum(line.id == key for line in read_ledger(ledger))


def use(answer: Answered) -> str:
    assert answer.status == 200, answer.body
    return str(answer.json["cache"])


@pytest.mark.parametrize("edge", ["http", "bus"])
async def test_an_answer_is_given_again_with_its_origin_and_no_attempt(running: Fleet, ledger: Path, edge: str) -> None:
    ask, query = running.asking(edge), now("shared", f"again-{edge}")
    first, again = await ask(query), await ask(query)
    assert (use(first), use(again)) == ("miss", "hit")
    assert again.raw_result == first.raw_result
    assert (again.json["attempts"], again.json["timing_ms"]["upstream"]) == (0, 0)
    for origin in ("server", "version", "instance"):
        assert again.json[origin] == first.json[origin]
    assert calls(ledger, f"again-{edge}") == 1


async def test_the_other_orchestrator_gives_the_same_answer(running: Fleet, ledger: Path) -> None:
    query = now("shared", "other")
    assert use(await running.ask_http(query, orchestrator=0)) == "miss"
    assert use(await running.ask_http(query, orchestrator=1)) == "hit"
    assert calls(ledger, "other") == 1


async def test_the_order_of_members_and_the_form_of_a_number_do_not_matter(running: Fleet, ledger: Path) -> None:
    before = b'{"server":"shared","tool":"now","arguments":{"key":"form","ms":1}}'
    after = b'{"arguments":{"ms":1.0, "key":"\\u0066orm"},"tool":"now","server":"shared"}'
    assert use(await running.ask_http(before)) == "miss"
    assert use(await running.ask_http(after)) == "hit"
    assert calls(ledger, "form") == 1


async def test_two_hundred_at_once_reach_the_server_once_over_two_orchestrators(running: Fleet, ledger: Path) -> None:
    query = now("shared", "two-hundred", ms=300)
    answers = await _at_once([running.ask_http(query, orchestrator=number % 2) for number in range(200)])
    assert calls(ledger, "two-hundred") == 1
    assert {answer.raw_result for answer in answers} == {answers[0].raw_result}
    uses = [use(answer) for answer in answers]
    assert uses.count("miss") == 1
    assert set(uses) <= {"miss", "coalesced", "hit"}


async def test_a_hundred_callers_with_answers_of_their_own_reach_it_once_each(running: Fleet, ledger: Path) -> None:
    query = now("own", "hundred", ms=100)
    callers = [f"caller-{number % 100}" for number in range(300)]
    answers = await _at_once(
        [running.ask_http(query, key=caller, orchestrator=n % 2) for n, caller in enumerate(callers)]
    )
    assert calls(ledger, "hundred") == 100
    by_caller: dict[str, set[bytes]] = {}
    for caller, answer in zip(callers, answers, strict=True):
        by_caller.setdefault(caller, set()).add(answer.raw_result)
    assert all(len(results) == 1 for results in by_caller.values())
    assert len({result for results in by_caller.values() for result in results}) == 100


async def test_bypass_neither_reads_nor_writes_and_refresh_calls_and_writes(running: Fleet, ledger: Path) -> None:
    query = now("shared", "modes")
    assert use(await running.ask_http({**query, "cache": "bypass"})) == "bypass"
    first = await running.ask_http(query)
    assert use(first) == "miss"
    assert use(await running.ask_http({**query, "cache": "bypass"})) == "bypass"
    fresh = await running.ask_http({**query, "cache": "refresh"})
    assert use(fresh) == "refresh"
    for orchestrator in (0, 1):
        with anyio.fail_after(10):  # the other's memory is as old as a second
            while (last := await running.ask_http(query, orchestrator=orchestrator)).raw_result != fresh.raw_result:
                assert last.raw_result == first.raw_result
                await anyio.sleep(0.05)
        assert use(last) == "hit"
    assert calls(ledger, "modes") == 4


async def test_what_nobody_declared_is_not_kept(running: Fleet, ledger: Path) -> None:
    for server, tool in (("plain", "now"), ("plain", "hinted"), ("believed", "now")):
        query = {**now(server, f"undeclared-{server}-{tool}"), "tool": tool}
        assert [use(await running.ask_http(query)) for _ in range(2)] == ["off", "off"]
        assert calls(ledger, f"undeclared-{server}-{tool}") == 2


async def test_a_tool_that_says_it_only_reads_is_believed_where_the_operator_says_so(running: Fleet) -> None:
    query = {**now("believed", "hinted"), "tool": "hinted"}
    assert [use(await running.ask_http(query)) for _ in range(2)] == ["miss", "hit"]
    assert use(await running.ask_http(query, key="caller-1")) == "miss"


async def test_a_resource_is_kept_as_its_server_says(running: Fleet) -> None:
    async def uses(uri: str) -> list[str]:
        query = {"server": "plain", "resource": uri}
        return [use(await running.ask_http(query, key=key)) for key in ("caller-1", "caller-1", "caller-2")]

    assert await uses(PUBLIC) == ["miss", "hit", "hit"]
    assert await uses(PRIVATE) == ["miss", "hit", "miss"]
    assert await uses(UNCACHED) == ["off", "off", "off"]


@pytest.mark.parametrize("fail", ["error", "ask"])
async def test_an_error_and_a_question_back_are_not_kept(running: Fleet, ledger: Path, fail: str) -> None:
    query = now("shared", f"not-{fail}", fail=fail)
    assert [use(await running.ask_http(query)) for _ in range(2)] == ["miss", "miss"]
    assert calls(ledger, f"not-{fail}") == 2


async def test_a_question_back_is_for_who_asked_alone(running: Fleet, ledger: Path) -> None:
    query = now("shared", "question", ms=200, fail="ask")
    answers = await _at_once([running.ask_http(query) for _ in range(3)])
    assert len({answer.raw_result for answer in answers}) == 3
    assert calls(ledger, "question") == 3


async def test_a_continuation_is_not_kept(running: Fleet) -> None:
    query = now("shared", "continued", request_state="state", input_responses={})
    assert [use(await running.ask_http(query)) for _ in range(2)] == ["off", "off"]


async def test_an_answer_of_an_alternate_is_kept_as_that_ones(running: Fleet, ledger: Path) -> None:
    answer = await running.ask_http(now("gone", "alternate"))
    assert (use(answer), answer.json["server"]) == ("miss", "shared")
    assert use(await running.ask_http(now("shared", "alternate"))) == "hit"
    again = await running.ask_http(now("gone", "alternate"))
    assert (use(again), again.json["server"]) == ("hit", "shared")
    assert calls(ledger, "alternate") == 1


async def test_an_answer_ends_to_be_fresh(running: Fleet) -> None:
    query = now("short", "ends")
    assert use(await running.ask_http(query)) == "miss"
    assert use(await running.ask_http(query)) == "hit"
    with anyio.fail_after(10):
        while use(await running.ask_http(query)) == "hit":
            await anyio.sleep(0.05)


async def test_who_leads_with_less_time_than_others_fails_alone(running: Fleet, ledger: Path) -> None:
    hasty = asyncio.create_task(running.ask_http(now("shared", "hasty", ms=1500, timeout_ms=700)))
    with anyio.fail_after(10):
        while not calls(ledger, "hasty"):
            await anyio.sleep(0.01)
    patient = [running.ask_http(now("shared", "hasty", ms=1500), orchestrator=n % 2) for n in range(10)]
    answers = await _at_once(patient)
    assert (await hasty).status == 504
    assert {answer.status for answer in answers} == {200}
    assert calls(ledger, "hasty") == 2


async def test_who_leads_and_has_too_little_time_for_a_place_in_the_line_fails_alone(running: Fleet) -> None:
    ahead = asyncio.create_task(running.ask_http(now("narrow", "ahead", ms=1500)))
    await anyio.sleep(0.3)  # it has the only slot
    hasty = asyncio.create_task(running.ask_http(now("narrow", "same", timeout_ms=700)))
    await anyio.sleep(0.1)  # it leads, and waits in the worker's line
    patient = await _at_once([running.ask_http(now("narrow", "same")) for _ in range(10)])
    assert (await hasty).json["code"] in {"overloaded", "timeout"}
    assert {answer.status for answer in patient} == {200}
    assert (await ahead).status == 200


async def _at_once(asking: list[Any]) -> list[Answered]:
    answers: list[Answered] = await asyncio.gather(*asking)
    return answers
