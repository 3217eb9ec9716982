"""What a server logs while it works on a call, on its way to who asked: in order, from a level on, and bounded."""

import json

import anyio
import pytest

from services.worker import log_messages
from services.worker.log_messages import MAX_LOG_BYTES, telling_log

pytestmark = pytest.mark.anyio


def message(level: str, data: object = "words") -> bytes:
    return json.dumps({"level": level, "data": data}).encode()


class Told:
    """Keeps what is told."""

    def __init__(self) -> None:
        self.words: list[bytes] = []

    async def tell(self, params: bytes) -> None:
        self.words.append(params)


async def test_messages_are_told_in_order_from_the_level_on() -> None:
    told = Told()
    async with telling_log(told.tell, "warning") as take:
        for level in ("debug", "emergency", "notice", "warning", "info", "error"):
            take(message(level))
    assert told.words == [message(level) for level in ("emergency", "warning", "error")]


@pytest.mark.parametrize("params", [b"", b"[]", b'{"data":1}', b'{"level":1,"data":1}', message("loud")])
async def test_what_says_no_level_is_dropped(params: bytes) -> None:
    told = Told()
    async with telling_log(told.tell, "debug") as take:
        take(params)
    assert told.words == []


async def test_what_is_too_long_or_comes_after_the_call_is_dropped() -> None:
    told = Told()
    async with telling_log(told.tell, "debug") as take:
        take(message("info", "x" * MAX_LOG_BYTES))
        take(message("info"))
    take(message("error"))
    assert told.words == [message("info")]


async def test_of_a_flood_the_first_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_messages, "_MOST_UNTOLD", 3)
    told = Told()
    with anyio.fail_after(5):
        async with telling_log(told.tell, "debug") as take:
            for number in range(9):
                take(message("info", number))
    assert told.words == [message("info", number) for number in range(3)]
