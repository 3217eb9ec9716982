"""Workers of servers that are not there: `python -m tests.bench.capacity.announcers --servers 199`; see `Announcers`.

They say on the bus what so many workers would say, each second a heartbeat of each. NATS is where $NATS says.
"""

import argparse
import asyncio
import os
import time

from bus_schemas import subjects
from bus_schemas.workers import Catalogue, WorkerHeartbeat, WorkerJoined, WorkerState
from tests.support.buses import connected

TOOLS = 50


def server_name(number: int) -> str:
    """Return the name of a server that is announced."""
    return f"server_{number:03}"


def catalogue(number: int) -> Catalogue:
    """Return what a server offers: 50 tools with a schema as large as people write them."""
    fields = {f"field_{at}": {"type": "string", "description": "What it is about."} for at in range(4)}
    schema = {"type": "object", "properties": fields, "required": ["field_0"]}
    tools = [
        {
            "name": f"tool_{at:02}_of_{number:03}",
            "description": "Does what its name says, once, and tells what came of it. " * 3,
            "inputSchema": schema,
        }
        for at in range(TOOLS)
    ]
    return Catalogue(tools=tools)


def joined(number: int, instance: str) -> WorkerJoined:
    """Return the first word of a worker."""
    offers = catalogue(number)
    return WorkerJoined(
        server=server_name(number),
        version="1.0.0",
        instance=instance,
        state=WorkerState.SERVING,
        started_at=time.time(),
        sent_at=time.time(),
        catalogue=offers.digest(),
        offers=offers,
    )


async def announce(nats_url: str, first: int, servers: int, prefix: str) -> None:
    """Join, and send a heartbeat of each a second, spread over it, until killed."""
    workers = [joined(number, f"{prefix}{number}") for number in range(first, first + servers)]
    async with connected(nats_url, service="worker") as side:
        for worker in workers:
            await side.bus.publish(subjects.worker_event(worker.server, worker.instance), worker.encode())
        beats = [(subjects.worker_event(one.server, one.instance), _heartbeat(one)) for one in workers]
        while True:
            began_at = time.monotonic()
            for number, (subject, heartbeat) in enumerate(beats, 1):
                await side.bus.publish(subject, heartbeat)
                await asyncio.sleep(max(0.0, began_at + number / servers - time.monotonic()))


def _heartbeat(worker: WorkerJoined) -> bytes:
    told = worker.model_dump(exclude={"offers", "event"}) | {"latency_ms": 3.2, "checked_at": time.time()}
    return WorkerHeartbeat.model_validate(told).encode()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--first", type=int, default=0, help="the number of the first server")
    parser.add_argument("--servers", type=int, required=True)
    parser.add_argument("--prefix", default="i", help="of the instances: tells workers of the same server apart")
    options = parser.parse_args()
    asyncio.run(announce(os.environ["NATS"], options.first, options.servers, options.prefix))


if __name__ == "__main__":
    main()
