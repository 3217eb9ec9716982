"""Orders to the supervisor of a `busbar up`, over the bus."""

import asyncio
import logging
from typing import Final

from bus_schemas import subjects
from bus_schemas.envelope import Message
from services.cli.errors import CommandError
from services.runtime.bus import BusAwayError, open_bus, open_inbox
from services.runtime.bus.inbox import NoRespondersError
from services.runtime.lifecycle import Lifecycle, new_instance_id

_CONNECT_S: Final = 5.0
_ANSWER_S: Final = 15.0


class OutcomeUnknownError(CommandError):
    """The supervisor may have obeyed, or not."""


def order_supervisor(nats_url: str, order: Message) -> bytes:
    """Return the supervisor's answer.

    Raises:
        OutcomeUnknownError: it does not answer.
        CommandError: there is no supervisor; nothing was done.
    """
    logging.disable()  # what goes wrong is told in our own line
    try:
        return asyncio.run(_ask(nats_url, order))
    except BusAwayError:
        raise CommandError("the bus cannot be reached: set BUSBAR_NATS_URL, or --state-dir") from None
    except NoRespondersError:
        raise CommandError(
            "no supervisor listens there; where another platform starts processes, use `busbar rollout start`"
        ) from None
    except TimeoutError:
        raise OutcomeUnknownError(f"the supervisor did not answer within {_ANSWER_S:g} s") from None
    finally:
        logging.disable(logging.NOTSET)


async def _ask(nats_url: str, order: Message) -> bytes:
    life = Lifecycle()
    async with (
        life,
        open_bus(nats_url, service="cli", instance=new_instance_id(), life=life, connect_timeout_s=_CONNECT_S) as bus,
        open_inbox(bus) as inbox,
    ):
        return (await inbox.ask(subjects.SUPERVISOR, order.encode(), timeout_s=_ANSWER_S)).data
