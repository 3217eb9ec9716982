"""The driver of rollouts before a real store, and a fleet that is not there: what it drives, and for how long."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
import redis

from services.admin.rollouts.book import RolloutBook
from services.admin.rollouts.driver import Driver
from services.admin.rollouts.rollout import KeptOrder, Observed, Rollout, RolloutState
from services.admin.rollouts.survey import Fleetwatch
from services.admin.rollouts.telling import Telling
from services.runtime.breakers import BreakerWords
from services.runtime.fleet import Fleet
from services.runtime.replicas import Replicas
from services.runtime.rollouts import RolloutWords
from services.runtime.store import Store
from tests.support.servers import ValkeyServer
from tests.support.stores import opened
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

NOBODY: Any = None


class Book(RolloutBook):
    """Keeps what it answered to those who want to drive."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.answers: list[bool] = []

    async def drive(self, instance: str, *, for_s: float) -> bool:
        self.answers.append(await super().drive(instance, for_s=for_s))
        return self.answers[-1]


class Heard(Telling):
    """Everybody hears at once what is told."""

    def __init__(self, store: Store, told: Callable[[Rollout], Awaitable[None]]) -> None:
        super().__init__(store, RolloutWords(), NOBODY, NOBODY, instance="one")
        self._is_told = told

    async def be_heard(self) -> None:
        return

    async def tell_weights(self, rollout: Rollout) -> bool:
        await self._is_told(rollout)
        return True


def draining(server: str) -> Rollout:
    """One that is over as soon as somebody sees that no worker of the old version is left."""
    return Rollout(
        id=f"of-{server}",
        server=server,
        from_version="1.0.0",
        to_version="2.0.0",
        state=RolloutState.RUNNING,
        weight=100,
        step=3,
        reason="",
        observed={"1.0.0": Observed(), "2.0.0": Observed()},
        order=KeptOrder(server=server, to_version="2.0.0"),
        is_draining=True,
        epoch=1,
        weights_by="one",
        weights_at=0.0,
    )


@asynccontextmanager
async def driven(store: Store, book: Book, told: Callable[[Rollout], Awaitable[None]]) -> AsyncIterator[None]:
    """Let the driver `one` drive."""
    watch = Fleetwatch(Fleet(NOBODY, NOBODY), Replicas(NOBODY, NOBODY), RolloutWords(), BreakerWords())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(Driver(book, Heard(store, told), watch, instance="one").drive)
        yield
        tasks.cancel_scope.cancel()


async def test_a_rollout_that_a_later_release_has_written_is_driven(valkey: ValkeyServer) -> None:
    async def told(_: Rollout) -> None:
        return

    async with opened(valkey.url) as store:
        book, rollout = Book(store), draining("files")
        assert await book.open(rollout) is not None
        later = json.loads(rollout.model_dump_json())
        for part in (later, later["order"], *later["observed"].values()):
            part["news"] = {"since": "the release after this one"}
        with redis.Redis.from_url(valkey.url) as client:
            assert client.hset("busbar:v1:rollouts", rollout.id, json.dumps(later)) == 0
        async with driven(store, book, told):
            with anyio.fail_after(10):
                while (entry := await book.read(rollout.id)) is None or not entry.rollout.is_settled:
                    await anyio.sleep(0.02)
        assert entry.rollout.state is RolloutState.COMPLETED
        assert await book.open(draining("files")) is not None, "nothing is in the way of the server's next one"


async def test_who_has_lost_the_lease_in_the_middle_of_a_look_looks_at_no_more(valkey: ValkeyServer) -> None:
    looked_at: list[str] = []
    async with opened(valkey.url) as store:
        book, others = Book(store), RolloutBook(store)

        async def told(rollout: Rollout) -> None:
            looked_at.append(rollout.server)
            await others.stop_driving("one")  # as when its time is over
            assert await others.drive("other", for_s=60)

        for server in ("files", "mirror"):
            assert await book.open(draining(server)) is not None
        async with driven(store, book, told):
            await until(lambda: book.answers.count(False) >= 2)
    assert len(set(looked_at)) == 1
