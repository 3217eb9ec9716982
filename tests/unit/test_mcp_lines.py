"""Streams are cut into the same lines and events however they arrive."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.worker.mcp.lines import CutLine, Event, EventSplitter, LineSplitter, TooLongError


@st.composite
def chunked(draw: st.DrawFn, alphabet: bytes) -> list[bytes]:
    return draw(st.lists(st.lists(st.sampled_from(list(alphabet)), max_size=6).map(bytes), max_size=12))


@given(chunked(b"ab\n\r"))
def test_lines_are_what_stands_before_line_feeds(chunks: list[bytes]) -> None:
    splitter = LineSplitter(10**6)
    lines = [line for chunk in chunks for line in splitter.feed(chunk)]
    assert lines == b"".join(chunks).split(b"\n")[:-1]


@given(chunked(b"dat:x \n\r"))
def test_events_do_not_depend_on_how_the_stream_is_cut(chunks: list[bytes]) -> None:
    stream = b"data: first\n\n" + b"".join(chunks) + b"\n\n"
    whole = EventSplitter(10**6).feed(stream)
    splitter = EventSplitter(10**6)
    pieces = [event for chunk in (b"data: first\n\n", *chunks, b"\n\n") for event in splitter.feed(chunk)]
    assert pieces == whole


def test_an_event_has_its_kind_and_all_its_data() -> None:
    stream = b"event: endpoint\ndata: /x\ndata:y\nid: 3\n\n:comment\n\nevent: empty\n\ndata: z\n\n"
    assert EventSplitter(100).feed(stream) == [Event(b"endpoint", b"/x\ny"), Event(b"message", b"z")]


def test_a_line_that_goes_on_over_the_limit_is_refused() -> None:
    splitter = LineSplitter(10)
    assert splitter.feed(b"x" * 10) == []
    with pytest.raises(TooLongError):
        splitter.feed(b"x")


@given(st.binary(min_size=11, max_size=60).map(lambda line: line.replace(b"\n", b" ")), st.integers(1, 9))
def test_of_a_line_over_the_limit_both_ends_are_kept_where_that_is_wanted(line: bytes, size: int) -> None:
    splitter = LineSplitter(10, kept_ends=4)
    stream = b"before\n" + line + b"\nafter\n"
    chunks = [stream[start : start + size] for start in range(0, len(stream), size)]
    before, cut, after = [line for chunk in chunks for line in splitter.feed(chunk)]
    assert (before, after) == (b"before", b"after")
    assert isinstance(cut, CutLine)
    assert not isinstance(after, CutLine)
    assert (cut[:4], cut[-4:]) == (line[:4], line[-4:])


def test_an_event_over_the_limit_is_refused_though_its_lines_are_not() -> None:
    with pytest.raises(TooLongError):
        EventSplitter(10).feed(b"data: 123456\ndata: 123456\n")


def test_a_line_in_very_many_pieces_takes_no_longer_than_its_length() -> None:
    splitter = LineSplitter(2**25)
    for _ in range(200_000):
        splitter.feed(b"x" * 100)
    assert splitter.feed(b"\n") == [b"x" * 20_000_000]
