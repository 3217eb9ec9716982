"""Lines reach their reader in order; one that is slow or gone costs lines and nothing else."""

import os
import select
from collections.abc import Iterator

import pytest

from services.runtime.line_stream import open_line_stream

pytestmark = pytest.mark.anyio

LARGE = "x" * 2**20
"""More than a pipe holds."""


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """What is to be read from, and what is to be written to."""
    reading, writing = os.pipe()
    yield reading, writing
    os.close(writing)


async def test_every_line_is_written_before_the_stream_closes(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    async with open_line_stream(writing) as stream:
        for number in range(5000):
            stream.write(str(number))
    with os.fdopen(reading, "rb", buffering=0) as read:
        assert read.read(2**16) == "".join(f"{number}\n" for number in range(5000)).encode()


async def test_what_a_slow_reader_has_no_room_for_is_dropped_and_counted(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    async with open_line_stream(writing, most_waiting=2) as stream:
        stream.write(LARGE)
        assert select.select([reading], [], [], 10)[0]  # its writing has begun, and waits for the reader
        for text in ("second", "third", "lost", "lost"):
            stream.write(text)
        assert stream.dropped == 2
        with os.fdopen(reading, "r") as read:
            assert [read.readline() for _ in range(3)] == [f"{LARGE}\n", "second\n", "third\n"]


async def test_a_reader_that_has_gone_stops_nothing(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    os.close(reading)
    async with open_line_stream(writing) as stream:
        stream.write("nobody reads this")


async def test_a_reader_that_never_reads_holds_up_no_end(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    async with open_line_stream(writing) as stream:
        stream.write(LARGE)
    os.close(reading)
