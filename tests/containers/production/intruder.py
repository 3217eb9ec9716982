"""What somebody tries who has taken over a worker's container; runs there: `python - < intruder.py`.

With the worker's own key it tries to speak and to listen where it must not, and tells as JSON what it got away with.
"""

import asyncio
import json
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nats

from services.runtime.bus.client import HardenedClient

NODES = os.environ["BUSBAR_NATS_URL"].split(",")
SEED = Path(os.environ["BUSBAR_NATS_NKEY_FILE"]).read_text().strip()
OWN, OTHER = "database_mcp", "product_metadata_mcp"

SPEAKS = {
    "a query": "mcp.v1.query",
    "a call to its own server": f"mcp.v1.call.{OWN}.1_0_0",
    "a call to another server": f"mcp.v1.call.{OTHER}.1_0_0",
    "a cancel": f"mcp.v1.cancel.{OTHER}",
    "an order to a worker": f"mcp.v1.control.{OTHER}.any",
    "a reload": "mcp.v1.control.config",
    "an event of another server's worker": f"mcp.v1.event.worker.{OTHER}.any",
    "an event of an orchestrator": "mcp.v1.event.orchestrator.any",
    "an open breaker": f"mcp.v1.event.breaker.{OTHER}",
    "a rollout's weights": f"mcp.v1.event.rollout.{OTHER}",
    "a maintenance": f"mcp.v1.event.maintenance.{OTHER}",
    "a flush": "mcp.v1.event.cache",
    "an answer to a caller": "_INBOX_caller.bus.any",
    "an answer to health": "_INBOX_health.any",
    "something returned to another server's worker": f"_INBOX_worker.{OTHER}.any.back.1",
}
LISTENS = {
    "everything": (">", ""),
    "queries": ("mcp.v1.query", ""),
    "queries, as an orchestrator": ("mcp.v1.query", "orchestrator"),
    "its own server's calls, beside the workers": (f"mcp.v1.call.{OWN}.1_0_0", ""),
    "its own server's calls, in a queue of its own": (f"mcp.v1.call.{OWN}.1_0_0", "mine"),
    "another server's calls": (f"mcp.v1.call.{OTHER}.1_0_0", f"{OTHER}.1_0_0"),
    "events": ("mcp.v1.event.>", ""),
    "the inboxes of orchestrators": ("_INBOX_orchestrator.>", ""),
    "the inboxes of callers": ("_INBOX_caller.>", ""),
    "the inboxes of other servers' workers": (f"_INBOX_worker.{OTHER}.>", ""),
    "NATS's own events": ("$SYS.>", ""),
}
REACHES = {
    "an orchestrator": ("orchestrator", 8080),
    "the admin service": ("admin", 8082),
    "the store": ("valkey", 6379),
    "another server": ("products-1-0-0", 8002),
    "Prometheus": ("prometheus", 9090),
    "the load balancer": ("haproxy", 8080),
}


async def ignore(_: object) -> None:
    """What comes is of no interest, only whether it may."""


class Intruder:
    """A connection with the worker's key, and what the server refused on it."""

    def __init__(self) -> None:
        self.client = HardenedClient()
        self.refusals = 0

    async def open(self) -> None:
        await self.client.connect(
            NODES, name="intruder", nkeys_seed_str=SEED, error_cb=self._hear, max_reconnect_attempts=1
        )

    async def may_speak(self, subject: str) -> bool:
        before = self.refusals
        await self.client.publish(subject, b"{}")
        await self.client.flush()
        return self.refusals == before

    async def may_listen(self, subject: str, queue: str) -> bool:
        before = self.refusals
        await self.client.subscribe(subject, queue=queue, cb=ignore)
        await self.client.flush()
        return self.refusals == before

    async def _hear(self, error: Exception) -> None:
        self.refusals += "permissions violation" in str(error).lower()


async def is_let_in_without_a_key() -> bool:
    try:
        client = await nats.connect(NODES, allow_reconnect=False, connect_timeout=2, error_cb=ignore)
    except Exception:
        return False
    await client.close()
    return True


def is_reached(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), 2).close()
    except OSError:
        return False
    return True


def reached() -> list[str]:
    """Try all at once: a name that is not known here may take long to be not known."""
    with ThreadPoolExecutor() as threads:
        tried = threads.map(lambda address: is_reached(*address), REACHES.values())
        return [name for name, is_open in zip(REACHES, tried, strict=True) if is_open]


def can_write() -> bool:
    try:
        Path("/opt/busbar/mine").write_text("")
    except OSError:
        return False
    return True


async def main() -> None:
    intruder = Intruder()
    await intruder.open()
    spoke = [name for name, subject in SPEAKS.items() if await intruder.may_speak(subject)]
    heard = [name for name, listen in LISTENS.items() if await intruder.may_listen(*listen)]
    own = await intruder.may_speak(f"mcp.v1.event.worker.{OWN}.intruder")
    await intruder.client.close()
    told = {
        "spoke": spoke,
        "heard": heard,
        "may do its own work": own,
        "was let in without a key": await is_let_in_without_a_key(),
        "reached": reached(),
        "wrote to its image": can_write(),
        "is root": 0 in {os.getuid(), os.geteuid(), os.getgid()},
    }
    print(json.dumps(told))


asyncio.run(main())
