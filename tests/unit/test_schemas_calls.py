"""The headers beside a call and its replies: strict where a wrong value would mislead, tolerant of other releases."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus_schemas.calls import CallHeaders, ErrorHeaders, ResultHeaders
from bus_schemas.errors import ErrorCode

LEAST = {"mcp-request-id": "01K", "mcp-timeout-ms": "5000", "mcp-sent-at": "1705744800000"}
NOT_NUMBERS = ["", "soon", "5.0", "-5", " 5", "1_000", "٣", "5\n", "9" * 400]

numbers = st.integers(0, 10**15 - 1)


def test_what_the_sender_leaves_out_has_a_default() -> None:
    assert CallHeaders.decode(LEAST) == CallHeaders(
        request_id="01K", timeout_ms=5000, sent_at_ms=1705744800000, attempt=1, principal=""
    )


@pytest.mark.parametrize("name", LEAST)
def test_a_call_without_a_header_that_every_release_sends_is_refused_by_its_name(name: str) -> None:
    headers = {header: value for header, value in LEAST.items() if header != name}
    with pytest.raises(ValueError, match=f"without the header {name}"):
        CallHeaders.decode(headers)


@pytest.mark.parametrize("value", NOT_NUMBERS)
@pytest.mark.parametrize("name", ["mcp-timeout-ms", "mcp-sent-at", "mcp-attempt"])
def test_a_call_whose_number_is_none_is_refused(name: str, value: str) -> None:
    with pytest.raises(ValueError, match="1 to 15 digits"):
        CallHeaders.decode({**LEAST, name: value})


@given(timeout_ms=numbers, sent_at_ms=numbers, attempt=numbers, traceparent=st.none() | st.text(min_size=1))
def test_call_headers_are_read_as_they_were_written(
    timeout_ms: int, sent_at_ms: int, attempt: int, traceparent: str | None
) -> None:
    headers = CallHeaders("01K", timeout_ms, sent_at_ms, attempt, "key-1", traceparent)
    assert CallHeaders.decode(headers.encode()) == headers


def test_a_trace_that_is_not_there_is_not_sent() -> None:
    assert not {"traceparent", "tracestate"} & set(CallHeaders("01K", 1, 1, 1, "bus").encode())


@given(st.dictionaries(st.from_regex(r"[a-z0-9-]{1,20}", fullmatch=True), st.text(), max_size=5))
def test_forwarded_headers_travel_under_names_of_their_own(forwarded: dict[str, str]) -> None:
    headers = CallHeaders("01K", 1, 1, 1, "bus", forwarded=forwarded)
    plain = CallHeaders("01K", 1, 1, 1, "bus").encode()
    assert headers.encode() == plain | {f"mcp-forward-{name}": value for name, value in forwarded.items()}
    assert CallHeaders.decode(headers.encode()) == headers


@pytest.mark.parametrize(("value", "wants"), [("1", True), ("0", False), ("", False), (None, False)])
def test_progress_goes_only_to_who_says_1(value: str | None, wants: bool) -> None:
    headers = LEAST if value is None else {**LEAST, "mcp-progress": value}
    assert CallHeaders.decode(headers).wants_progress is wants


def test_a_call_that_wants_no_progress_says_nothing_of_it() -> None:
    assert "mcp-progress" not in CallHeaders("01K", 1, 1, 1, "bus").encode()
    assert CallHeaders("01K", 1, 1, 1, "bus", wants_progress=True).encode()["mcp-progress"] == "1"


def test_a_result_without_times_is_still_a_result() -> None:
    assert ResultHeaders.decode({"mcp-kind": "result"}) == ResultHeaders(instance="", upstream_us=0, queue_us=0)


@pytest.mark.parametrize("value", NOT_NUMBERS)
def test_a_result_whose_time_is_no_number_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="1 to 15 digits"):
        ResultHeaders.decode({"mcp-upstream-us": value})


@pytest.mark.parametrize("code", ["code_of_next_year", "", "TIMEOUT"])
def test_a_code_that_this_release_does_not_know_is_a_fault_of_the_servers_side(code: str) -> None:
    told = ErrorHeaders.decode({"mcp-code": code, "mcp-executed": "maybe", "mcp-instance": "q7"})
    assert told == ErrorHeaders("q7", ErrorCode.UPSTREAM_ERROR, "maybe")


def test_an_unknown_code_keeps_its_word_that_the_call_never_ran() -> None:
    told = ErrorHeaders.decode({"mcp-code": "code_of_next_year", "mcp-executed": "no"})
    assert told.executed == "no"


@pytest.mark.parametrize("executed", ["maybe", "perhaps", "", "NO", None])
def test_only_a_plain_no_means_that_the_call_never_ran(executed: str | None) -> None:
    headers = {"mcp-code": "timeout"} if executed is None else {"mcp-code": "timeout", "mcp-executed": executed}
    assert ErrorHeaders.decode(headers).executed == "maybe"


@pytest.mark.parametrize("code", ErrorCode)
@pytest.mark.parametrize("executed", ["no", "maybe"])
def test_every_error_is_read_as_it_was_written(code: ErrorCode, executed: str) -> None:
    headers = ErrorHeaders("q7", code, "no" if executed == "no" else "maybe")
    assert ErrorHeaders.decode(headers.encode()) == headers
