"""What one turn of the event loop writes."""

import asyncio
from typing import Any, cast

import pytest

from services.runtime.gathered_writes import GatheringTransport

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
async def joined(written: Written) -> GatheringTransport:
    return GatheringTransport(cast("Any", written))


async def test_what_one_turn_writes_is_one_write(written: Written, joined: GatheringTransport) -> None:
    joined.write(b"head")
    joined.write(b"body")
    assert written.writes == []
    await asyncio.sleep(0)
    assert written.writes == [b"headbody"]
    joined.write(b"next")
    await asyncio.sleep(0)
    assert written.writes == [b"headbody", b"next"]


async def test_much_is_not_held_back(written: Written, joined: GatheringTransport) -> None:
    joined.write(b"head")
    joined.write(b"x" * 20_000)
    assert written.writes == [b"head" + b"x" * 20_000]
    joined.write(b"x" * 20_000)
    await asyncio.sleep(0)
    assert len(written.writes) == 2


async def test_what_was_written_goes_out_before_the_end(written: Written, joined: GatheringTransport) -> None:
    joined.write(b"last")
    joined.close()
    assert (written.writes, written.is_closed) == ([b"last"], True)
    await asyncio.sleep(0)
    assert written.writes == [b"last"]


async def test_to_who_has_gone_nothing_is_written(written: Written, joined: GatheringTransport) -> None:
    joined.write(b"late")
    written.is_closed = True
    await asyncio.sleep(0)
    assert written.writes == []


async def test_what_one_turn_writes_to_many_goes_out_when_its_other_work_is_done() -> None:
    log: list[str] = []

    class Noting(Written):
        def write(self, data: bytes) -> None:
            log.append(data.decode())

    async def work(number: int) -> None:
        log.append(f"work {number}")
        GatheringTransport(cast("Any", Noting())).write(b"write %d" % number)

    await asyncio.gather(*[work(number) for number in range(3)])
    await asyncio.sleep(0)
    assert log == ["work 0", "work 1", "work 2", "write 0", "write 1", "write 2"]
