"""Where a continuation has to go: to the worker whose server gave out its `requestState`."""

import asyncio
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from bus_schemas import subjects
from bus_schemas.control import FindState, StateFound
from bus_schemas.digests import state_digest
from services.orchestrator.catalogue import LiveVersion
from services.runtime.bus import Bus, BusAwayError, Exchange, Inbox
from services.runtime.bus.inbox import NoRespondersError

_LONGEST_S: Final = 1.0
"""How long a worker may take to say whether it knows a state; one of an older release does not answer at all."""


class Continuations:
    """Asks the workers, all at once: a continuation is rare, and may come over any orchestrator."""

    def __init__(self, bus: Bus, inbox: Inbox) -> None:
        self._bus = bus
        self._inbox = inbox

    async def giver(
        self, versions: Iterable[LiveVersion], request_state: str, deadline: float
    ) -> tuple[LiveVersion, str] | None:
        """Return the version and the instance that gave out the state; None if nobody says so before `deadline`.

        Where there is only one worker there is nothing to be found.
        """
        workers = {instance: version for version in versions for instance in version.instances}
        if len(workers) < 2:
            return None
        order = FindState(state_sha256=state_digest(request_state)).encode()
        with self._inbox.expect() as exchange, suppress(BusAwayError, TimeoutError):
            for instance, version in workers.items():
                await self._bus.publish(subjects.control(version.server, instance), order, reply=exchange.reply_to)
            async with asyncio.timeout_at(min(deadline, time.monotonic() + _LONGEST_S)):
                for _ in workers:
                    instance = await _holder(exchange)
                    if instance in workers:
                        return workers[instance], instance
        return None


async def _holder(exchange: Exchange) -> str:
    """Return the instance that says it knows the state; "" if the next reply says no."""
    try:
        found = StateFound.model_validate_json((await exchange.next()).data)
    except (NoRespondersError, ValueError):
        return ""
    return found.instance if found.is_held else ""
