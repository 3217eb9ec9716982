"""What a caller is told of each error, and nothing else."""

import json
import time

import pytest
from prometheus_client import Gauge

from bus_schemas.errors import ERRORS, ErrorCode, FieldError, Problem
from services.runtime.errors import (
    DeadlineExceededError,
    DeadlinePassedError,
    NotExecutedError,
    QueryError,
    UpstreamError,
    UpstreamRefusedError,
)
from services.runtime.ids import new_id
from services.runtime.metrics import expose, new_registry
from services.runtime.problems import problem_body, problem_headers


def error_of(code: ErrorCode, **fields: object) -> QueryError:
    """An error with `code`, whose class says no more than the table."""
    kind = type("SomeError", (QueryError,), {"code": code})
    error: QueryError = kind(**fields)
    return error


@pytest.mark.parametrize("code", ErrorCode)
def test_every_code_is_told_from_the_table(code: ErrorCode) -> None:
    meaning = ERRORS[code]
    problem = json.loads(problem_body(error_of(code), "01ABC"))
    if code in (ErrorCode.INVALID_REQUEST, ErrorCode.INVALID_ARGUMENTS):
        assert problem.pop("errors") == []
    assert problem == {
        "type": f"urn:busbar:error:{code.value}",
        "title": meaning.title,
        "status": meaning.status,
        "detail": meaning.detail,
        "code": code.value,
        "id": "01ABC",
        "retryable": bool(meaning.retryable),
        "executed": meaning.executed,
    }
    Problem.model_validate(problem)


@pytest.mark.parametrize("code", ErrorCode)
def test_headers_go_with_the_status(code: ErrorCode) -> None:
    expected = {
        429: {"retry-after": "1"},
        503: {"retry-after": "1"},
        401: {"www-authenticate": 'Bearer realm="busbar"'},
    }
    assert problem_headers(error_of(code)) == expected.get(ERRORS[code].status, {})


@pytest.mark.parametrize(("retry_after_s", "told"), [(0.0, "1"), (0.2, "1"), (1.0, "1"), (1.01, "2"), (30.0, "30")])
def test_the_time_to_wait_is_told_in_whole_seconds(retry_after_s: float, told: str) -> None:
    assert problem_headers(error_of(ErrorCode.RATE_LIMITED, retry_after_s=retry_after_s)) == {"retry-after": told}


@pytest.mark.parametrize(
    ("error", "is_idempotent", "retryable", "executed"),
    [
        (DeadlineExceededError(), False, False, "maybe"),
        (DeadlineExceededError(), True, True, "maybe"),
        (DeadlinePassedError(), False, True, "no"),
        (UpstreamError(), False, False, "maybe"),
        (UpstreamError(), True, True, "maybe"),
        (UpstreamRefusedError(), True, False, "maybe"),
    ],
)
def test_whether_to_ask_again_depends_on_what_may_have_run(
    error: QueryError, is_idempotent: bool, retryable: bool, executed: str
) -> None:
    problem = json.loads(problem_body(error, "1", is_idempotent=is_idempotent))
    assert (problem["retryable"], problem["executed"]) == (retryable, executed)
    assert isinstance(error, NotExecutedError) == (executed == "no")


def test_the_fields_that_are_wrong_are_named() -> None:
    wrong = FieldError(pointer="/arguments/alias", keyword="required")
    problem = json.loads(problem_body(error_of(ErrorCode.INVALID_ARGUMENTS, errors=[wrong]), "1"))
    assert problem["errors"] == [{"pointer": "/arguments/alias", "keyword": "required"}]


def test_the_error_of_the_server_keeps_its_bytes() -> None:
    raw = '{"code":-32000,  "message":"grüße \\u00fc","data":{"big":12345678901234567890,"f":1.0}}'.encode()
    body = problem_body(UpstreamRefusedError(mcp_error=raw), "1")
    assert b'"mcp_error":' + raw in body
    assert json.loads(body)["mcp_error"]["code"] == -32000


def test_the_text_of_an_exception_is_not_told() -> None:
    error = UpstreamError()
    error.args = ("http://internal/secret",)
    error.__cause__ = ConnectionError("http://internal/secret")
    assert b"internal" not in problem_body(error, "1")


def test_ids_are_ulids_and_sort_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 1_469_918_176_385 * 1_000_000)
    assert new_id()[:10] == "01ARYZ6S41"  # the example of github.com/ulid/spec, its random part apart
    early = new_id()
    monkeypatch.setattr(time, "time_ns", lambda: 1_469_918_176_386 * 1_000_000)
    later = new_id()
    assert early < later
    assert len(early) == 26
    assert set(early + later) <= set("0123456789ABCDEFGHJKMNPQRSTVWXYZ")
    assert len({new_id() for _ in range(1000)}) == 1000


def test_metrics_are_text_or_openmetrics_as_asked() -> None:
    registry = new_registry()
    Gauge("mcp_servers_connected_total", "Servers.", registry=registry).set(2)
    text, kind = expose(registry, "")
    assert kind.startswith("text/plain")
    assert b"mcp_servers_connected_total 2.0" in text
    assert b"process_resident_memory_bytes" in text
    assert b"_created" not in text
    text, kind = expose(registry, "application/openmetrics-text; version=1.0.0")
    assert kind.startswith("application/openmetrics-text")
    assert text.endswith(b"# EOF\n")


def test_registries_share_nothing() -> None:
    registry = new_registry()
    Gauge("mine", "Mine.", registry=registry)
    assert b"mine" not in expose(new_registry(), "")[0]
