"""Which worker gave out a request state: asked of all at once, over a real bus."""

import time
from collections.abc import AsyncIterator
from typing import cast

import anyio
import pytest

from bus_schemas import subjects
from bus_schemas.control import FindState, StateFound, decode_order
from bus_schemas.digests import state_digest
from bus_schemas.workers import Catalogue
from services.orchestrator import continuations
from services.orchestrator.catalogue import LiveVersion, Offer
from services.orchestrator.continuations import Continuations
from services.runtime.bus import BusMessage
from tests.support.buses import Connected, connected
from tests.support.servers import NatsServer

pytestmark = pytest.mark.anyio


@pytest.fixture
async def here(nats: NatsServer) -> AsyncIterator[Connected]:
    async with connected(nats.url) as here:
        yield here


class Workers:
    """Answers for the workers of two servers, as far as the test lets them."""

    def __init__(self, here: Connected) -> None:
        self._here = here
        self.versions: list[LiveVersion] = []
        self.asked: list[str] = []

    async def join(self, server: str, instance: str, *states: str, answers: bool = True) -> None:
        self.versions.append(LiveVersion(server, "1.0.0", Offer(Catalogue()), 0.0, [instance]))

        async def take(message: BusMessage) -> None:
            self.asked.append(instance)
            digest = cast("FindState", decode_order(message.data)).state_sha256
            found = StateFound(instance=instance, is_held=digest in map(state_digest, states))
            if answers:
                await self._here.bus.publish(message.reply, found.encode())

        await self._here.bus.subscribe(subjects.control(server, instance), take)

    async def giver(self, state: str, *, within_s: float = 5.0) -> tuple[str, str] | None:
        finding = Continuations(self._here.bus, self._here.inbox)
        with anyio.fail_after(5):
            found = await finding.giver(self.versions, state, time.monotonic() + within_s)
        return None if found is None else (found[0].server, found[1])


async def test_the_worker_that_holds_the_state_is_found_among_those_of_all_servers(here: Connected) -> None:
    workers = Workers(here)
    for number in range(3):
        await workers.join("find-a", f"fa{number}", f"state {number}")
    await workers.join("find-b", "fb", "state of b")
    assert await workers.giver("state 1") == ("find-a", "fa1")
    assert await workers.giver("state of b") == ("find-b", "fb")
    assert await workers.giver("unknown") is None


async def test_a_worker_that_is_gone_or_does_not_know_the_question_keeps_nobody_waiting(
    here: Connected, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers = Workers(here)
    workers.versions.append(LiveVersion("find-c", "1.0.0", Offer(Catalogue()), 0.0, ["gone"]))
    await workers.join("find-c", "old", answers=False)
    await workers.join("find-c", "fc", "s")
    assert await workers.giver("s") == ("find-c", "fc")
    assert await workers.giver("unknown", within_s=0.05) is None
    monkeypatch.setattr(continuations, "_LONGEST_S", 0.05)
    assert await workers.giver("unknown") is None


async def test_a_single_worker_is_not_asked(here: Connected) -> None:
    workers = Workers(here)
    await workers.join("find-d", "fd", "s")
    assert await workers.giver("s") is None
    assert workers.asked == []
