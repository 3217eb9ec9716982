"""The roll of the live workers, by what each says of itself every second; what they offer is left out unread."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from bus_schemas import subjects
from services.runtime.bus import Bus, BusAwayError, BusMessage, Inbox
from services.runtime.bus.inbox import NoRespondersError
from services.runtime.fleet import HEARD_ALL_AFTER_S, Fleet
from services.runtime.lifecycle import Lifecycle

_FIELDS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_HEARTBEAT: Final = msgspec.Raw(b'"heartbeat"')
_NOBODY_SAID_AFTER_S: Final = 0.1


def without_catalogue(event: bytes) -> bytes:
    """Return a worker's event as it would be from one that offers nothing: a heartbeat in the place of `joined`.

    A catalogue may have megabytes, which nobody here asks for and whose models would take a tenth of a second: health
    could not be asked meanwhile. What is no event is returned as it is.
    """
    try:
        fields = _FIELDS.decode(event)
    except msgspec.DecodeError:
        return event
    if fields.pop("offers", None) is not None:
        fields["event"] = _HEARTBEAT
    fields.pop("catalogue", None)
    return msgspec.json.encode(fields)


@asynccontextmanager
async def open_roll(bus: Bus, inbox: Inbox, life: Lifecycle) -> AsyncIterator[Fleet]:
    """Follow the workers' events; the table holds whoever is there when this returns: after a heartbeat, if anybody is.

    Nobody is asked to describe itself, as others do at their start and after a reconnect: that is the catalogue again.
    """
    fleet = Fleet(bus, inbox)

    def take(message: BusMessage) -> None:
        message.data = without_catalogue(message.data)
        fleet.take_event(message)

    subscription = await bus.receive(subjects.WORKER_EVENTS, take)
    if await _is_anybody_there(inbox):
        await asyncio.sleep(HEARD_ALL_AFTER_S)
    life.start(fleet.watch_silence(), name="fleet-silence")
    try:
        yield fleet
    finally:
        await subscription.drain()


async def _is_anybody_there(inbox: Inbox) -> bool:
    """Whether there may be workers: none only if NATS knows of nobody who could be asked, as when all begins.

    They hear what is asked here, and say nothing: they have no right to send anything to health.
    """
    try:
        await inbox.ask(subjects.ANYBODY, b"", timeout_s=_NOBODY_SAID_AFTER_S)
    except NoRespondersError:
        return False
    except (BusAwayError, TimeoutError):
        return True
    return True
