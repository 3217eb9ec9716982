"""What is retained in a real store: of each name the newest word, whatever comes in which order."""

import pytest
import redis

from services.runtime.store import StoreAwayError
from services.runtime.store.retained import RetainedWord, keep, kept
from tests.support.servers import ValkeyServer
from tests.support.stores import opened

pytestmark = pytest.mark.anyio

KEY = "busbar:v1:retained:kind"


def word(text: bytes, *, epoch: int, name: str = "a", by: str = "one") -> RetainedWord:
    return RetainedWord(name, epoch, by, text)


async def test_of_each_name_the_newest_word_is_kept(valkey: ValkeyServer) -> None:
    async with opened(valkey.url) as store:
        assert await kept(store, "kind") == []
        await keep(store, "kind", [])
        await keep(store, "kind", [word(b"second\nline", epoch=10), word(b"other", epoch=1, name="b")])
        await keep(store, "kind", [word(b"first", epoch=9)])
        assert sorted(await kept(store, "kind")) == [b"other", b"second\nline"]
        await keep(store, "kind", [word(b"third", epoch=10_000), word(b"other", epoch=0, name="b")])
        assert sorted(await kept(store, "kind")) == [b"other", b"third"]
        assert await kept(store, "another kind") == []


@pytest.mark.parametrize("order", [("one", "one2", "two"), ("two", "one2", "one")])
async def test_of_words_with_one_epoch_that_whose_author_sorts_last_is_kept(
    valkey: ValkeyServer, order: tuple[str, ...]
) -> None:
    async with opened(valkey.url) as store:
        for by in order:
            await keep(store, "kind", [word(by.encode(), epoch=5, by=by)])
        assert await kept(store, "kind") == [max(order).encode()]


async def test_it_never_expires_and_garbage_does_not_hold_it_up(valkey: ValkeyServer) -> None:
    with redis.Redis.from_url(valkey.url) as client:
        client.hset(KEY, "a", "zzz")
        async with opened(valkey.url) as store:
            assert await kept(store, "kind") == [b""]
            await keep(store, "kind", [word(b"word", epoch=1)])
            assert await kept(store, "kind") == [b"word"]
        assert client.ttl(KEY) == -1


async def test_without_a_store_nothing_is_kept_and_that_is_said() -> None:
    async with opened(None) as store:
        with pytest.raises(StoreAwayError):
            await keep(store, "kind", [word(b"word", epoch=1)])
