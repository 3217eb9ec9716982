"""Who is logged in: for how long, at which replica, and what a store that is away changes."""

import asyncio

import pytest

from services.admin.console.session_store import ENDED, KeptSession, SessionStore
from services.admin.console.sessions import IDLE_S, LASTS_S, Sessions
from services.runtime.store import StoreError
from tests.support.clock import Clock

pytestmark = pytest.mark.anyio

KEY = b"k" * 32


class FakeStore(SessionStore):
    """What replicas share; it may be away."""

    def __init__(self) -> None:
        self.kept: dict[str, KeptSession | str] = {}
        self.is_away = False

    async def read(self, digest: str) -> KeptSession | str | None:
        self._answer()
        return self.kept.get(digest)

    async def keep(self, digest: str, session: KeptSession, *, for_s: float) -> KeptSession | str | None:
        self._answer()
        held = self.kept.get(digest)
        if held != ENDED:
            self.kept[digest] = session
        return held

    async def end(self, digest: str, *, for_s: float) -> None:
        self._answer()
        self.kept[digest] = ENDED

    def _answer(self) -> None:
        if self.is_away:
            raise StoreError


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def replicas(store: FakeStore, clock: Clock) -> tuple[Sessions, Sessions]:
    return Sessions(store, clock), Sessions(store, clock)


async def test_a_session_is_known_here_and_there_and_neither_its_id_nor_the_key_is_kept(
    replicas: tuple[Sessions, Sessions], store: FakeStore
) -> None:
    here, there = replicas
    session_id = await here.begin(KEY)
    found, same = await here.find(session_id), await there.find(session_id)
    assert found is not None
    assert same is not None
    assert (found.key_digest, found.csrf_token) == (same.key_digest, same.csrf_token)
    assert session_id not in repr(store.kept)
    for other in ("", "x", "x" * len(session_id)):
        assert await here.find(other) is None


async def test_it_ends_when_it_is_not_used_and_after_a_working_day_whatever_is_done(
    replicas: tuple[Sessions, Sessions], clock: Clock
) -> None:
    here, _ = replicas
    idle, busy = await here.begin(KEY), await here.begin(KEY)
    began = clock.now
    while clock.now - began < LASTS_S - IDLE_S:
        clock.now += IDLE_S / 2
        assert await here.find(busy) is not None
    assert await here.find(idle) is None
    clock.now = began + LASTS_S
    assert await here.find(busy) is None


async def test_use_at_one_replica_keeps_it_alive_at_the_other(
    replicas: tuple[Sessions, Sessions], clock: Clock
) -> None:
    here, there = replicas
    session_id = await here.begin(KEY)
    assert await there.find(session_id) is not None
    for _ in range(4):
        clock.now += IDLE_S / 2
        assert await here.find(session_id) is not None
    assert await there.find(session_id) is not None


async def test_a_log_out_holds_everywhere(replicas: tuple[Sessions, Sessions], clock: Clock) -> None:
    here, there = replicas
    session_id = await here.begin(KEY)
    assert await there.find(session_id) is not None
    await here.end(session_id)
    assert await here.find(session_id) is None
    clock.now += 2
    assert await there.find(session_id) is None


async def test_without_the_store_who_is_known_goes_on_and_a_log_out_is_told_when_it_is_back(
    replicas: tuple[Sessions, Sessions], store: FakeStore, clock: Clock
) -> None:
    here, there = replicas
    before = await here.begin(KEY)
    store.is_away = True
    clock.now += 5
    during = await here.begin(KEY)
    assert await here.find(before) is not None
    assert await here.find(during) is not None
    await here.end(before)
    assert await here.find(before) is None
    is_back = asyncio.Event()
    following = asyncio.create_task(here.follow_store(is_back))
    store.is_away = False
    is_back.set()
    while is_back.is_set() or ENDED not in store.kept.values():
        await asyncio.sleep(0)
    following.cancel()
    clock.now += 5
    assert await there.find(before) is None
    assert await here.find(during) is not None
    assert await there.find(during) is not None
