"""What 10, 100 and 1,000 workers cost whoever follows them: `python -m tests.bench.many_workers`.

The workers are simulated: one process says what so many would say, each second a heartbeat of each, ten workers to a
server. NATS is real, and so is the follower: what every orchestrator, health and admin process does besides its work.
Prints a Markdown table: the share of one core that the follower and NATS take, the follower's memory, and what goes to
each follower.
"""

import argparse
import asyncio
import os
import resource
import sys
import time

import psutil

from bus_schemas import subjects
from bus_schemas.workers import Catalogue, WorkerHeartbeat, WorkerJoined, WorkerState
from services.orchestrator.catalogue import CatalogueView
from services.runtime.fleet import open_fleet
from tests.support.buses import connected
from tests.support.processes import python_process
from tests.support.servers import nats_server

SIZES = (10, 100, 1000)
_WORKERS_PER_SERVER = 10
_TOOLS = 20
_MEASURED_S = 20.0
_SETTLED_S = 30.0


async def publish(nats_url: str, workers: int) -> None:
    """Say what so many workers say, spread over each second, until killed."""
    tool = {"description": "Does what it says. " * 10, "inputSchema": {"type": "object"}}
    offers = Catalogue(tools=[{"name": f"tool_{number}", **tool} for number in range(_TOOLS)])
    joined = [
        WorkerJoined(
            server=f"server_{number // _WORKERS_PER_SERVER}",
            version="1.0.0",
            instance=f"i{number}",
            state=WorkerState.SERVING,
            started_at=time.time(),
            sent_at=time.time(),
            catalogue=offers.digest(),
            offers=offers,
        )
        for number in range(workers)
    ]
    async with connected(nats_url, service="worker") as side:
        for worker in joined:
            await side.bus.publish(subjects.worker_event(worker.server, worker.instance), worker.encode())
        beats = [(subjects.worker_event(one.server, one.instance), _heartbeat(one)) for one in joined]
        while True:
            began_at = time.monotonic()
            for number, (subject, heartbeat) in enumerate(beats, 1):
                await side.bus.publish(subject, heartbeat)
                if number % 10 == 0:
                    await asyncio.sleep(max(0.0, began_at + number / workers - time.monotonic()))


def _heartbeat(joined: WorkerJoined) -> bytes:
    told = joined.model_dump(exclude={"offers", "event"}) | {"latency_ms": 3.2, "checked_at": time.time()}
    return WorkerHeartbeat.model_validate(told).encode()


async def follow(workers: int) -> str:
    """Follow so many workers, and return the line of the table."""
    async with (
        nats_server() as nats,
        connected(nats.url, service="orchestrator") as side,
        open_fleet(side.bus, side.inbox, side.life) as fleet,
    ):
        view = CatalogueView(fleet)
        async with python_process("tests.bench.many_workers", f"--publish={workers}", env={"NATS": nats.url}):
            async with asyncio.timeout(_SETTLED_S):
                while len(list(fleet.workers())) < workers:
                    await asyncio.sleep(0.1)
            view.servers()
            broker = psutil.Process(nats.pid)
            bytes_before, broker_before = side.bus._client.stats["in_bytes"], sum(broker.cpu_times()[:2])
            own_before, began_at = time.process_time(), time.monotonic()
            while time.monotonic() < began_at + _MEASURED_S:
                await asyncio.sleep(0.01)
                view.servers()
            elapsed_s = time.monotonic() - began_at
            own = (time.process_time() - own_before) / elapsed_s
            brokers = (sum(broker.cpu_times()[:2]) - broker_before) / elapsed_s
            taken_in = (side.bus._client.stats["in_bytes"] - bytes_before) / elapsed_s
            assert len(list(fleet.workers())) == workers, "a worker was counted out: the machine is too busy to measure"
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return f"| {workers:,} | {own:.1%} | {brokers:.1%} | {memory:.0f} | {taken_in / 1000:,.0f} |"


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--publish", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.publish:
        asyncio.run(publish(os.environ["NATS"], options.publish))
        return 0
    print("| workers (simulated) | follower, of a core | NATS, of a core | follower, MB | kB/s to each follower |")
    print("|--:|--:|--:|--:|--:|")
    for size in SIZES:
        print(asyncio.run(follow(size)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
