"""A server's progress on its way to who asked: all of it, but for what comes too fast, and as the server said it."""

from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from services.runtime.errors import UpstreamError
from services.worker import progress
from services.worker.progress import AT_ONCE, MAX_PROGRESS_BYTES, telling_progress, without_token
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


def word(number: int) -> bytes:
    return b'{"progress":%d}' % number


class Told:
    """Keeps what is told."""

    def __init__(self) -> None:
        self.words: list[bytes] = []

    async def tell(self, params: bytes) -> None:
        self.words.append(params)


@pytest.mark.parametrize(
    ("params", "left"),
    [
        (b'{"progressToken":1,"progress":2}', b'{"progress":2}'),
        (b'{"progress":1.0e5,"progressToken":"a,}","total":2.50}', b'{"progress":1.0e5,"total":2.50}'),
        (
            b'{"message":"\\u00fc\xc3\xbc {}","progress":1,"progressToken":[]}',
            b'{"message":"\\u00fc\xc3\xbc {}","progress":1}',
        ),
        (b'{"progress":%d,"_meta":{ "x":1 }}' % 10**30, b'{"progress":%d,"_meta":{ "x":1 }}' % 10**30),
        (b'{"progress\\u0054oken":1,"progress":2}', b'{"progress":2}'),
    ],
    ids=["alone", "numbers", "text", "large", "escaped"],
)
def test_only_the_token_is_taken_out(params: bytes, left: bytes) -> None:
    assert without_token(params) == left


@pytest.mark.parametrize("params", [b"", b"[1]", b"null", b'{"progressToken":1}', b'{"progress":'])
def test_what_tells_of_no_progress_is_none(params: bytes) -> None:
    assert without_token(params) is None


async def test_a_few_words_are_all_told_however_fast_they_come() -> None:
    told = Told()
    async with telling_progress(told.tell) as take:
        for number in range(AT_ONCE):
            take(word(number))
    assert told.words == [word(number) for number in range(AT_ONCE)]


async def test_a_burst_costs_no_more_than_a_few_messages_with_the_last_words() -> None:
    told = Told()
    async with telling_progress(told.tell) as take:
        for number in range(10_000):
            take(word(number))
    assert told.words == [word(number) for number in range(10_000 - AT_ONCE, 10_000)]


async def test_after_a_burst_the_last_word_is_told_when_the_call_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_APART_S", 600)
    told = Told()
    with anyio.fail_after(5):
        async with telling_progress(told.tell) as take:
            for number in range(AT_ONCE):
                take(word(number))
            await until(lambda: len(told.words) == AT_ONCE)
            take(word(100))
            take(word(101))
            for _ in range(10):
                await anyio.lowlevel.checkpoint()
            assert len(told.words) == AT_ONCE
    assert told.words[AT_ONCE:] == [word(101)]


async def test_words_that_come_apart_are_all_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_APART_S", 0.001)
    told = Told()
    async with telling_progress(told.tell) as take:
        for number in range(5):
            take(word(number))
            await until(partial(told.words.__contains__, word(number)))
    assert told.words == [word(number) for number in range(5)]


async def test_nothing_is_told_after_the_call() -> None:
    told = Told()
    async with telling_progress(told.tell) as take:
        pass
    take(word(1))
    for _ in range(10):
        await anyio.lowlevel.checkpoint()
    assert told.words == []


async def test_a_word_that_is_too_long_or_none_is_dropped() -> None:
    told = Told()
    longest = b'{"progress":1,"message":"%s"}' % (b"x" * (MAX_PROGRESS_BYTES - 27))
    assert len(longest) == MAX_PROGRESS_BYTES
    async with telling_progress(told.tell) as take:
        take(longest)
        take(longest.replace(b"xx", b"xxx", 1))
    assert told.words == [longest]

    async with telling_progress(told.tell) as take:
        take(b"[]")
        await anyio.lowlevel.checkpoint()
        take(word(2))
    assert told.words == [longest, word(2)]


async def test_the_last_word_is_told_when_the_call_fails() -> None:
    told = Told()

    async def call(take: Any) -> None:
        take(word(1))
        raise UpstreamError

    with pytest.raises(UpstreamError):
        async with telling_progress(told.tell) as take:
            await call(take)
    assert told.words == [word(1)]
