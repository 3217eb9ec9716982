"""The load of a row, a process of its own: `python -m tests.chaos.load --url URL … --records FOLDER`.

Every server, tool and way in is a stream with a record of its own. SIGTERM ends the sending; answers are still waited
for.
"""

import argparse
import os
import signal
import sys
from itertools import count, product
from pathlib import Path
from typing import NamedTuple

import anyio

from tests.chaos.senders import balanced_sender, patient_sender
from tests.support.load import Driver, Record
from tests.support.senders import Sender

DECLARED, UNDECLARED = "record_idempotent", "record"
"""The tool that the configuration declares idempotent, and the one that it does not."""
BUS_SHARE = 0.2
_PATIENCE_S = 0.2
"""After its deadline, for a caller on the bus. The account counts an answer 0.5 s after it as none: the rest is for
this process, which gets everything at once that a frozen NATS held back, to notice that the time is over."""


class Stream(NamedTuple):
    """Queries of one kind."""

    server: str
    tool: str
    edge: str
    """`http` or `bus`."""

    @property
    def is_declared(self) -> bool:
        """Whether its calls are declared idempotent."""
        return self.tool == DECLARED

    def record(self, folder: Path) -> Path:
        """Where it is written down."""
        return folder / ".".join(self)


def streams(servers: list[str]) -> list[Stream]:
    """Return the streams of a load over `servers`."""
    return [Stream(*kind) for kind in product(servers, (DECLARED, UNDECLARED), ("http", "bus"))]


async def drive(options: argparse.Namespace) -> None:
    """Send until SIGTERM, and return when all is settled."""
    patience_s = options.timeout_ms / 1000 + _PATIENCE_S
    async with (
        balanced_sender(options.url) as http,
        patient_sender(os.environ["BUSBAR_NATS_URL"], patience_s=patience_s) as bus,
        anyio.create_task_group() as background,
    ):
        senders: dict[str, Sender] = {"http": http, "bus": bus}
        shares = {"http": 1 - BUS_SHARE, "bus": BUS_SHARE}
        kinds = streams(options.server)
        drivers = {
            stream: Driver(
                senders[stream.edge],
                Record(stream.record(options.records)),
                server=stream.server,
                tool=stream.tool,
                ms=options.ms,
                timeout_ms=options.timeout_ms,
            )
            for stream in kinds
        }
        await background.start(_stop_on_signal, list(drivers.values()))
        async with anyio.create_task_group() as sending:
            for stream, driver in drivers.items():
                per_s = options.rate * shares[stream.edge] * 2 / len(kinds)
                sending.start_soon(driver.send_at_rate, per_s, count())
                await anyio.sleep(1 / options.rate)  # the streams take turns
        background.cancel_scope.cancel()


async def _stop_on_signal(drivers: list[Driver], *, task_status: anyio.abc.TaskStatus[None]) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM) as signals:
        task_status.started()
        await anext(aiter(signals))
        for driver in drivers:
            driver.stop()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--url", action="append", required=True, help="of an orchestrator; NATS's is in the environment"
    )
    parser.add_argument("--server", action="append", required=True)
    parser.add_argument("--records", type=Path, required=True, help="the folder of the records")
    parser.add_argument("--rate", type=float, required=True, help="queries a second, of all streams together")
    parser.add_argument("--ms", type=int, required=True, help="how long each call is to take")
    parser.add_argument("--timeout-ms", type=int, required=True)
    anyio.run(drive, parser.parse_args(), backend_options={"use_uvloop": True})
    return 0


if __name__ == "__main__":
    sys.exit(main())
