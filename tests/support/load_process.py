"""The load driver as tests use it: started, watched through its record, stopped, asked for its summary."""

import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from tests.support.processes import ProcessDiedError, RunningProcess, python_process
from tests.support.records import LoadSummary
from tests.support.waiting import until

_TOLD = b'{"event":"told",'


class LoadProcess:
    """A running load driver."""

    def __init__(self, process: RunningProcess, record: Path) -> None:
        self.process = process
        self.record = record

    async def told(self, queries: int, *, timeout_s: float = 10.0) -> None:
        """Return when the driver has been told something of at least `queries` queries.

        Raises:
            ProcessDiedError: it has ended before.
            TimeoutError: it was not within `timeout_s` seconds.
        """
        await until(lambda: self._told() >= queries or self.process.returncode is not None, timeout_s=timeout_s)
        if self._told() < queries:
            raise ProcessDiedError(f"the load ended after {self._told()} answers:\n{self.process.stderr()}")

    async def finished(self, *, timeout_s: float = 60.0) -> LoadSummary:
        """Return its summary when it has sent all and settled all.

        Raises:
            ProcessDiedError: it failed.
            TimeoutError: it still runs after `timeout_s` seconds.
        """
        status = await self.process.wait(timeout_s=timeout_s)
        if status != 0:
            raise ProcessDiedError(f"the load ended with status {status}:\n{self.process.stderr()}")
        return msgspec.json.decode(self.process.stdout(), type=LoadSummary)

    async def stopped(self, *, timeout_s: float = 60.0) -> LoadSummary:
        """Make it send no more, and return its summary when all it has sent is settled; raises as `finished()`."""
        self.process.signal(signal.SIGTERM)
        return await self.finished(timeout_s=timeout_s)

    def _told(self) -> int:
        # Counted without decoding: this is asked many times while a load is measured.
        return self.record.read_bytes().count(_TOLD) if self.record.exists() else 0


@asynccontextmanager
async def load_process(
    record: Path,
    *,
    server: str,
    tool: str = "record",
    urls: Sequence[str] = (),
    nats_url: str | None = None,
    key: str | None = None,
    rate: float | None = None,
    concurrency: int | None = None,
    total: int | None = None,
    duration_s: float | None = None,
    ms: int = 0,
    timeout_ms: int = 30_000,
) -> AsyncIterator[LoadProcess]:
    """Run the load driver against `urls` or `nats_url`; the options are those of `tests.support.load`."""
    options = {
        "--record": record,
        "--server": server,
        "--tool": tool,
        "--rate": rate,
        "--concurrency": concurrency,
        "--total": total,
        "--duration": duration_s,
        "--ms": ms,
        "--timeout-ms": timeout_ms,
    }
    arguments = [f"{name}={value}" for name, value in options.items() if value is not None]
    secrets = {"BUSBAR_NATS_URL": nats_url, "BUSBAR_KEY": key}
    env = {name: value for name, value in secrets.items() if value is not None}
    async with python_process("tests.support.load", *arguments, *(f"--url={url}" for url in urls), env=env) as process:
        yield LoadProcess(process, record)
