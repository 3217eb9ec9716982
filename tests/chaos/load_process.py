"""The load of a row as its runner sees it: started, followed through its records, stopped."""

import signal
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import msgspec

from tests.chaos.load import Stream, streams
from tests.support.processes import ProcessDiedError, RunningProcess, python_process
from tests.support.records import RecordLine, Told

_POLL_S = 0.05
_FRESH_S = 0.5
"""Younger than this, an answer shows that the service goes on."""


class LoadProcess:
    """A running load."""

    def __init__(self, process: RunningProcess, records: Path, servers: Sequence[str]) -> None:
        """Made by `load_process()`."""
        self.streams = streams(list(servers))
        self.records = records
        self._process = process
        self._read: dict[Stream, int] = dict.fromkeys(self.streams, 0)
        self._decoder: msgspec.json.Decoder[RecordLine] = msgspec.json.Decoder(RecordLine)
        self._answered = 0
        self._answered_at = 0.0
        self._failed_at = 0.0
        self._served_at: dict[tuple[str, str | None], float] = {}

    async def answered(self, queries: int, *, timeout_s: float = 20.0) -> None:
        """Return when so many queries have been answered.

        Raises:
            ProcessDiedError: the load has ended.
            TimeoutError: they were not within `timeout_s` seconds.
        """
        with anyio.fail_after(timeout_s):
            while self._follow() and self._answered < queries:
                await anyio.sleep(_POLL_S)

    async def calm(self, calm_s: float, *, timeout_s: float) -> None:
        """Return when every query of the last `calm_s` seconds was answered, or after `timeout_s` seconds.

        Raises:
            ProcessDiedError: the load has ended.
        """
        began = time.time()
        while self._follow() and time.time() - began < timeout_s:
            now = time.time()
            if now - max(began, self._failed_at) >= calm_s and now - self._answered_at < _FRESH_S:
                return
            await anyio.sleep(_POLL_S)

    async def served_by(self, server: str, by: str, *, timeout_s: float) -> None:
        """Return when a query to `server` that was told from now on was answered by `by`.

        Raises:
            ProcessDiedError: the load has ended.
            TimeoutError: none was within `timeout_s` seconds.
        """
        began = time.time()
        with anyio.fail_after(timeout_s):
            while self._follow() and self._served_at.get((server, by), 0.0) < began:
                await anyio.sleep(_POLL_S)

    async def stopped(self, *, timeout_s: float = 60.0) -> None:
        """Make it send no more, and return when all it has sent is settled.

        Raises:
            ProcessDiedError: it failed.
            TimeoutError: it still runs after `timeout_s` seconds.
        """
        self._process.signal(signal.SIGTERM)
        if await self._process.wait(timeout_s=timeout_s) != 0:
            raise ProcessDiedError(self._process.stderr()[-4000:])

    def _follow(self) -> bool:
        """Read what is new in the records."""
        if self._process.returncode is not None:
            raise ProcessDiedError(self._process.stderr()[-4000:])
        for stream, read in self._read.items():
            path = stream.record(self.records)
            if not path.exists():
                continue
            with path.open("rb") as record:
                record.seek(read)
                whole, newline, _ = record.read().rpartition(b"\n")
            self._read[stream] = read + len(whole) + len(newline)
            for line in whole.splitlines():
                self._take(stream.server, self._decoder.decode(line))
        return True

    def _take(self, server: str, line: RecordLine) -> None:
        if not isinstance(line, Told):
            return
        if line.code is None:
            self._answered += 1
            self._answered_at = max(self._answered_at, line.at)
            self._served_at[server, line.server] = line.at
        else:
            self._failed_at = max(self._failed_at, line.at)


@asynccontextmanager
async def load_process(
    records: Path,
    *,
    urls: Sequence[str],
    nats_url: str,
    servers: Sequence[str],
    rate: float,
    ms: int,
    timeout_ms: int,
) -> AsyncIterator[LoadProcess]:
    """Run the load; `records` is an empty folder, the rest is as for `tests.chaos.load`."""
    arguments = [f"--records={records}", f"--rate={rate}", f"--ms={ms}", f"--timeout-ms={timeout_ms}"]
    arguments += [*(f"--url={url}" for url in urls), *(f"--server={server}" for server in servers)]
    async with python_process("tests.chaos.load", *arguments, env={"BUSBAR_NATS_URL": nats_url}) as process:
        yield LoadProcess(process, records, servers)
