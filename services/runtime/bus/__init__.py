"""The connection to NATS: the only package that imports nats.

client      the nats-py client with the faults mended that lose messages or hang → the next four
transport   its transport, which hands messages over where they come from the socket
parser      its parser, with a short way for the messages of which there are many
pace        when what is published is written
wire        messages as bytes: what every query goes through
connection  Bus: publish, subscribe, fence; reconnects for ever, ends the process when it cannot
chunks      large results in parts, on a second connection
inbox       one subscription for all replies; an exchange may get several
orders      takes orders and answers them, one after another
discovery   $SRV PING, INFO and STATS of ADR-32, asked and answered
metrics     whether the connections are up, and how often they came back
"""

from services.runtime.left_out import left_out

with left_out("aiohttp"):  # for WebSockets, by which no bus of ours is reached
    from nats.aio.msg import Msg as BusMessage

from services.runtime.bus.connection import Bus, BusAwayError, BusDeniedError, Subscription, open_bus
from services.runtime.bus.inbox import Exchange, Inbox, open_inbox

__all__ = [
    "Bus",
    "BusAwayError",
    "BusDeniedError",
    "BusMessage",
    "Exchange",
    "Inbox",
    "Subscription",
    "open_bus",
    "open_inbox",
]
