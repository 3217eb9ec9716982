"""What one turn of the event loop writes to an HTTP caller."""

import asyncio
from typing import Any, cast

import pytest

from services.runtime.joined_writes import JoinedWrites

pytestmark = pytest.mark.anyio


class Written:
    """Keeps each write."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.is_closed = False
        self.get_extra_info = self.pause_reading = self.resume_reading = self.set_protocol = lambda *_: None

    def write(self, data: bytes) -> None:
        assert not self.is_closed
        self.writes.append(data)

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def written() -> Written:
    return Written()


@pytest.fixture
def joined(written: Written) -> JoinedWrites:
    return JoinedWrites(cast("Any", written))


async def test_what_one_turn_writes_is_one_write(written: Written, joined: JoinedWrites) -> None:
    joined.write(b"head")
    joined.write(b"body")
    assert written.writes == []
    await asyncio.sleep(0)
    assert written.writes == [b"headbody"]
    joined.write(b"next")
    await asyncio.sleep(0)
    assert written.writes == [b"headbody", b"next"]


async def test_much_is_not_held_back(written: Written, joined: JoinedWrites) -> None:
    joined.write(b"head")
    joined.write(b"x" * 20_000)
    assert written.writes == [b"head" + b"x" * 20_000]
    joined.write(b"x" * 20_000)
    await asyncio.sleep(0)
    assert len(written.writes) == 2


async def test_what_was_written_goes_out_before_the_end(written: Written, joined: JoinedWrites) -> None:
    joined.write(b"last")
    joined.close()
    assert (written.writes, written.is_closed) == ([b"last"], True)
    await asyncio.sleep(0)
    assert written.writes == [b"last"]


async def test_to_who_has_gone_nothing_is_written(written: Written, joined: JoinedWrites) -> None:
    joined.write(b"late")
    written.is_closed = True
    await asyncio.sleep(0)
    assert written.writes == []
