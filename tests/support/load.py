"""The load driver, a process of its own: `python -m tests.support.load --url URL --server S --rate 100 --record FILE`.

It writes down every query before it sends it and what it was told of it, and prints a summary at its end. SIGTERM
and SIGINT end the sending; answers are still waited for.
"""

import argparse
import os
import secrets
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from itertools import count
from pathlib import Path

import anyio
import nats.errors
import orjson

from tests.support.account import percentile
from tests.support.records import LoadSummary, RecordLine, Sent, Told, encode_line
from tests.support.senders import Answer, Sender, http_sender, nats_sender

STOPPING = "load: sending no more"
_PATIENCE_S = 3.0
"""How long after its deadline a query is given up; what comes up to then is in the record, as late."""


class Record:
    """Appends lines to the file of what was sent and told; each is written at once, so that others can follow it."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def add(self, line: RecordLine) -> None:
        os.write(self._file, encode_line(line) + b"\n")

    def close(self) -> None:
        os.close(self._file)


class Driver:
    """Sends queries of one kind, each with an id of its own, and keeps count."""

    def __init__(self, sender: Sender, record: Record, *, server: str, tool: str, ms: int, timeout_ms: int) -> None:
        """Prepare a run.

        Args:
            sender: the way to the gateway.
            record: where every query and answer is written.
            server: the logical server that is asked.
            tool: a tool of it that takes `id` and `ms`.
            ms: how long each call is to take, in milliseconds.
            timeout_ms: each query's own timeout, in milliseconds.
        """
        self._sender = sender
        self._record = record
        self._query = {"server": server, "tool": tool, "timeout_ms": timeout_ms}
        self._ms = ms
        self._give_up_s = timeout_ms / 1000 + _PATIENCE_S
        self._run = secrets.token_hex(4)
        self._outcomes: Counter[str] = Counter()
        self._durations_ms: list[float] = []
        self._behind_s = 0.0
        self._sending = anyio.CancelScope()

    def stop(self) -> None:
        """Send no more."""
        self._sending.cancel()

    async def send_at_rate(self, per_s: float, numbers: Iterator[int]) -> None:
        """Send `per_s` queries a second however long the answers take; return when all are settled."""
        started = time.monotonic()
        # The scope that stop() cancels holds the pacing only, not the queries in flight. Not move_on_after() for each
        # pause: over uvloop, whose timers are up to 1 ms early, anyio spins through the rest of each.
        async with anyio.create_task_group() as in_flight:
            with self._sending:
                for number in numbers:
                    due_in_s = started + number / per_s - time.monotonic()
                    self._behind_s = max(self._behind_s, -due_in_s)
                    await anyio.sleep(max(0.0, due_in_s))
                    in_flight.start_soon(self._send, number)

    async def send_at_once(self, concurrency: int, numbers: Iterator[int]) -> None:
        """Keep `concurrency` queries in flight, each followed by the next; return when all are settled."""

        async def send_in_turn() -> None:
            for number in numbers:
                if self._sending.cancel_called:
                    return
                await self._send(number)

        async with anyio.create_task_group() as lanes:
            for _ in range(concurrency):
                lanes.start_soon(send_in_turn)

    def summary(self, elapsed_s: float) -> LoadSummary:
        outcomes = dict(self._outcomes)
        answered, unanswered = outcomes.pop("answered", 0), outcomes.pop("unanswered", 0)
        sent = self._outcomes.total()
        durations_ms = sorted(self._durations_ms)
        return LoadSummary(
            sent=sent,
            answered=answered,
            refused=outcomes,
            unanswered=unanswered,
            elapsed_s=round(elapsed_s, 3),
            rate_per_s=round(sent / elapsed_s, 1),
            p50_ms=round(percentile(durations_ms, 50), 3),
            p99_ms=round(percentile(durations_ms, 99), 3),
            behind_s=round(self._behind_s, 3),
        )

    async def _send(self, number: int) -> None:
        id_ = f"{self._run}-{number}"
        query = orjson.dumps({**self._query, "arguments": {"id": id_, "ms": self._ms}})
        self._record.add(Sent(id_, time.time()))
        started = time.perf_counter()
        answer = await self._sender.send(query, timeout_s=self._give_up_s)
        self._settle(id_, answer, (time.perf_counter() - started) * 1000)

    def _settle(self, id_: str, answer: Answer | None, ms: float) -> None:
        if answer is None:
            self._outcomes["unanswered"] += 1
            return
        self._outcomes[answer.code or "answered"] += 1
        if answer.code is None:
            self._durations_ms.append(ms)
        self._record.add(
            Told(
                id=id_,
                at=time.time(),
                status=answer.status,
                code=answer.code,
                executed=answer.executed,
                ms=round(ms, 3),
                instance=answer.instance,
                server=answer.server,
                attempts=answer.attempts,
                is_error=answer.is_error,
            )
        )


async def drive(options: argparse.Namespace) -> LoadSummary:
    """Run the load that the options describe and return its summary."""
    record = Record(options.record)
    try:
        async with _open_sender(options) as sender, anyio.create_task_group() as background:
            driver = Driver(
                sender,
                record,
                server=options.server,
                tool=options.tool,
                ms=options.ms,
                timeout_ms=options.timeout_ms,
            )
            await background.start(_stop_on_signal, driver)
            if options.duration is not None:
                background.start_soon(_stop_after, driver, options.duration)
            started = time.monotonic()
            numbers = count() if options.total is None else iter(range(options.total))
            if options.rate is not None:
                await driver.send_at_rate(options.rate, numbers)
            else:
                await driver.send_at_once(options.concurrency, numbers)
            background.cancel_scope.cancel()
        return driver.summary(time.monotonic() - started)
    finally:
        record.close()


def _open_sender(options: argparse.Namespace) -> AbstractAsyncContextManager[Sender]:
    if options.nats is not None:
        return nats_sender(options.nats, options.key)
    return http_sender(options.url, options.key)


async def _stop_on_signal(driver: Driver, *, task_status: anyio.abc.TaskStatus[None]) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        await anext(aiter(signals))
        driver.stop()
        print(STOPPING, file=sys.stderr, flush=True)  # noqa: T201 who sent the signal may wait for it


async def _stop_after(driver: Driver, duration_s: float) -> None:
    await anyio.sleep(duration_s)
    driver.stop()


def parse_options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line; key and NATS URL may come from the environment, where `ps` does not show them."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.load", description="Load a gateway and keep record.")
    parser.add_argument("--url", action="append", help="of a gateway; several are asked in turn")
    parser.add_argument("--nats", help="ask over NATS at this URL (or $BUSBAR_NATS_URL, without --url)")
    parser.add_argument("--key", default=os.environ.get("BUSBAR_KEY"), help="a query key (or $BUSBAR_KEY)")
    parser.add_argument("--server", required=True)
    parser.add_argument("--tool", default="record")
    pace = parser.add_mutually_exclusive_group(required=True)
    pace.add_argument("--rate", type=_positive, help="queries a second, whatever the answers take")
    pace.add_argument("--concurrency", type=int, help="queries in flight at any moment")
    end = parser.add_mutually_exclusive_group()
    end.add_argument("--total", type=int, help="queries to send; without it and --duration until SIGTERM")
    end.add_argument("--duration", type=_positive, help="seconds to send for")
    parser.add_argument("--record", type=Path, required=True, help="the file of what was sent and told")
    parser.add_argument("--ms", type=int, default=0, help="how long each call is to take")
    parser.add_argument("--timeout-ms", type=int, default=30000)
    options = parser.parse_args(arguments)
    if options.url is None and options.nats is None:
        options.nats = os.environ.get("BUSBAR_NATS_URL")
    if (options.url is None) == (options.nats is None):
        parser.error("give either --url or --nats")
    return options


def _positive(text: str) -> float:
    number = float(text)
    if number <= 0:
        raise argparse.ArgumentTypeError("must be above 0")
    return number


def main() -> int:
    options = parse_options()
    try:
        summary = anyio.run(drive, options, backend_options={"use_uvloop": True})
    except (OSError, nats.errors.Error) as error:  # in particular: NATS cannot be reached
        print(f"load: {type(error).__name__}", file=sys.stderr)  # noqa: T201
        return 1
    print(encode_line(summary).decode())  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
