"""Which queries get a line, what it holds, and that a flood of refusals fills no disk."""

import json
import time
from typing import Any

import pytest

from bus_schemas.queries import CacheUse, Query
from services.orchestrator.context import Context, Course
from services.orchestrator.query_log import QueryLog, QueryLogLevel
from services.runtime.auth.principals import ANONYMOUS
from services.runtime.tracing import TraceContext, UnrecordedSpan

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"


class Log:
    """A query log, its lines, and its clock."""

    def __init__(self, level: QueryLogLevel = "all") -> None:
        self.now = 0.0
        self.written: list[str] = []
        self.log = QueryLog(level, slow_s=1, write=self.written.append, clock=lambda: self.now)

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.written]

    def answered(self, code: str = "ok", *, name: str | None = "lookup", **course: Any) -> None:
        query = Query.model_validate({"tool": "caller's", "arguments": {"word": "secret"}})
        known = Course(**{"query": query, "attempts": 2, "cache": CacheUse.MISS, **course})
        context = Context("01K", ANONYMOUS, time.monotonic())
        self.log.answered(context, known, server="ledger", name=name, elapsed_s=0.0123456, code=code)


@pytest.mark.parametrize(
    ("level", "wanted"),
    [
        ("off", set()),
        ("errors", {"failed", "slow and failed"}),
        ("slow", {"failed", "slow", "slow and failed"}),
        ("all", {"quick", "failed", "slow", "slow and failed"}),
    ],
)
def test_each_level_has_what_the_one_before_it_has(level: QueryLogLevel, wanted: set[str]) -> None:
    log = Log(level).log
    queries = {
        "quick": (0.9, None),
        "slow": (1.0, None),
        "failed": (0.1, "timeout"),
        "slow and failed": (2.0, "tool_error"),
    }
    assert {name for name, (elapsed_s, code) in queries.items() if log.wants(elapsed_s, code)} == wanted


def test_a_line_tells_whose_query_it_was_for_whom_and_how_it_went() -> None:
    log = Log()
    log.answered(span=UnrecordedSpan(TraceContext(TRACEPARENT)))
    (line,) = log.lines
    assert line.pop("at").endswith("+00:00")
    assert line == {
        "event": "query",
        "id": "01K",
        "code": "ok",
        "ms": 12.346,
        "key": ANONYMOUS.id,
        "server": "ledger",
        "tool": "lookup",
        "cache": "miss",
        "attempts": 2,
        "trace": TRACEPARENT[3:35],
    }


def test_what_is_not_known_is_not_there() -> None:
    log = Log()
    log.answered(name=None)
    log.log.refused("01L", elapsed_s=0.001, code="unauthorized")
    answered, refused = log.lines
    assert not answered.keys() & {"tool", "trace"}
    assert refused.keys() == {"at", "event", "id", "code", "ms"}


def test_a_prompt_is_no_tool() -> None:
    log = Log()
    log.answered(query=Query.model_validate({"prompt": "greet"}), name="greet")
    (line,) = log.lines
    assert "tool" not in line
    assert line["prompt"] == "greet"


def test_no_name_of_a_server_breaks_a_line_or_commands_a_terminal() -> None:
    log = Log()
    name = 'a"b\n\x1b[31m\x7f\u0085\u009b31m\u2028\u202e\ud800'
    log.answered(name=name)
    (text,) = log.written
    assert text.isascii()
    assert text.isprintable()
    assert log.lines[0]["tool"] == name


def test_a_flood_of_one_code_leaves_the_others_and_good_queries_their_lines() -> None:
    log = Log()
    for _ in range(500):
        log.log.refused("01K", elapsed_s=0, code="rate_limited")
    log.answered("timeout")
    for _ in range(50):
        log.answered()
    codes = [line["code"] for line in log.lines]
    assert {code: codes.count(code) for code in codes} == {"rate_limited": 20, "timeout": 1, "ok": 50}
    assert log.log.skipped == 480


def test_the_next_line_says_how_many_were_left_out() -> None:
    log = Log()
    for _ in range(30):
        log.answered("timeout")
    log.now = 1.0
    log.answered("timeout")
    log.answered("timeout")
    assert [line.get("skipped") for line in log.lines[-3:]] == [None, 10, None]
