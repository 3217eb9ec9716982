"""Real processes for tests: output captured, signalled by their id, always ended with all their children."""

import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx
import psutil

from tests.support.warm_start import WarmProcess, can_start

REPOSITORY = Path(__file__).resolve().parents[2]
_MARK = "PROCESS_OF_TEST"
_POLL_S = 0.02
_END_S = 5.0


class ProcessDiedError(Exception):
    """A process ended while somebody waited for it to become ready. Its text holds the end of the process's output."""


class RunningProcess:
    """A process of a test, leader of a session of its own so that what it starts can be found again."""

    def __init__(self, argv: Sequence[str], *, folder: Path, env: Mapping[str, str], cwd: Path = REPOSITORY) -> None:
        """Start `argv`; its output goes to files in `folder`, and our own `BUSBAR_*` variables do not reach it."""
        # Whatever inherits the variable is ours, also after its parent has died.
        self._mark = uuid.uuid4().hex
        self._seen: set[psutil.Process] = set()
        self._last_words: tuple[str, str] | None = None
        self.stdout_path = folder / f"{self._mark}.out"
        self.stderr_path = folder / f"{self._mark}.err"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("BUSBAR_")}
        environment = {**inherited, **env, _MARK: self._mark}
        self._popen: subprocess.Popen[bytes] | WarmProcess
        if can_start(list(argv)):
            self._popen = WarmProcess(
                list(argv), stdout=self.stdout_path, stderr=self.stderr_path, env=environment, cwd=cwd
            )
            return
        with self.stdout_path.open("wb") as stdout, self.stderr_path.open("wb") as stderr:
            self._popen = subprocess.Popen(
                list(argv),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env=environment,
                cwd=cwd,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def returncode(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self._popen.poll()

    def stdout(self) -> str:
        """What it has printed so far; all of it also after `end()`."""
        return self._last_words[0] if self._last_words else self.stdout_path.read_text(errors="replace")

    def stderr(self) -> str:
        """As `stdout()`, of the other stream."""
        return self._last_words[1] if self._last_words else self.stderr_path.read_text(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        """Signal this one process; nothing happens if it has ended."""
        self._popen.send_signal(number)

    def pause(self) -> None:
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)

    async def wait(self, *, timeout_s: float = 10.0) -> int:
        """Return the exit status once it has ended.

        Raises:
            TimeoutError: it still runs after `timeout_s` seconds.
        """
        with anyio.fail_after(timeout_s):
            return await anyio.to_thread.run_sync(self._popen.wait, abandon_on_cancel=True)

    async def kill(self) -> None:
        """Kill this one process with SIGKILL and wait for its end; its children are left as they are."""
        self.signal(signal.SIGKILL)
        await self.wait()

    async def terminate(self, *, timeout_s: float = 10.0) -> int:
        """Ask it to stop with SIGTERM and return its exit status.

        Raises:
            TimeoutError: it still runs after `timeout_s` seconds.
        """
        self.signal(signal.SIGTERM)
        return await self.wait(timeout_s=timeout_s)

    def leftovers(self) -> list[int]:
        """Return the ids of the living processes that it or its children started, also where their parent has died.

        Found as its descendants, by its session, by an inherited variable, or because an earlier call has seen them.
        """
        self._seen.update(_tree(self.pid))
        self._seen.update(process for process in psutil.process_iter() if self._started(process))
        self._seen = {process for process in self._seen if process.pid != self.pid and _lives(process)}
        return sorted(process.pid for process in self._seen)

    def end(self) -> None:
        """Kill it and everything it has started, by id. May be called again.

        Raises:
            TimeoutError: something still lives after five seconds of killing.
        """
        give_up_at = time.monotonic() + _END_S
        self.leftovers()  # seen before the leader dies: afterwards they are somebody else's children
        self._popen.kill()
        self._popen.wait()
        while self.leftovers():
            for process in self._seen:
                _kill(process)
            if time.monotonic() > give_up_at:
                raise TimeoutError(f"still alive after SIGKILL: {self.leftovers()}")
            time.sleep(_POLL_S)
        self._last_words = self.stdout(), self.stderr()  # its files may go before it is asked what it printed

    def _started(self, process: psutil.Process) -> bool:
        try:
            return os.getsid(process.pid) == self.pid or process.environ().get(_MARK) == self._mark
        except (OSError, psutil.Error):
            return False


@asynccontextmanager
async def running(
    argv: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path = REPOSITORY
) -> AsyncIterator[RunningProcess]:
    """Run `argv`, and kill it with everything it has started on the way out."""
    with tempfile.TemporaryDirectory(prefix="busbar-test-") as folder:
        process = RunningProcess(argv, folder=Path(folder), env=env or {}, cwd=cwd)
        try:
            yield process
        finally:
            process.end()


@asynccontextmanager
async def python_process(
    module: str,
    *arguments: str,
    env: Mapping[str, str] | None = None,
    ready_url: str | None = None,
    ready_timeout_s: float = 20.0,
) -> AsyncIterator[RunningProcess]:
    """Run `python -m module`, ready at once or when `ready_url` answers 200; killed with its children on the way out.

    Temporary and state files of the process go to a folder that is removed with it.

    Raises:
        ProcessDiedError: it ended before it was ready.
        TimeoutError: it was not ready within `ready_timeout_s` seconds.
    """
    with tempfile.TemporaryDirectory(prefix="busbar-test-") as state:
        places = dict.fromkeys(("TMPDIR", "XDG_STATE_HOME", "XDG_RUNTIME_DIR"), state)
        argv = [sys.executable, "-m", module, *arguments]
        async with running(argv, env={**places, **(env or {})}) as process:
            if ready_url is not None:
                await wait_ready(process, ready_url, timeout_s=ready_timeout_s)
            yield process


async def wait_ready(process: RunningProcess, url: str, *, timeout_s: float = 20.0) -> None:
    """Return when `url` (a `/readyz`) answers 200.

    Raises:
        ProcessDiedError: `process` ended first.
        TimeoutError: it did not within `timeout_s` seconds.
    """
    async with httpx.AsyncClient(timeout=1.0, trust_env=False) as client:
        with anyio.fail_after(timeout_s):
            while not await _answers(client, url):
                if process.returncode is not None:
                    output = (process.stdout() + process.stderr())[-4000:]
                    raise ProcessDiedError(f"status {process.returncode} before it was ready:\n{output}")
                await anyio.sleep(_POLL_S)


async def wait_listening(process: RunningProcess, port: int, *, timeout_s: float = 60.0) -> None:
    """Return when `process` listens on `port`.

    Raises:
        ProcessDiedError: `process` ended first.
        TimeoutError: it did not within `timeout_s` seconds.
    """
    with anyio.fail_after(timeout_s):
        while process.returncode is None and port not in {at for _, at in listening_at(process.pid)}:
            await anyio.sleep(_POLL_S)
    if process.returncode is not None:
        raise ProcessDiedError(f"status {process.returncode} before it listened:\n{process.stderr()[-4000:]}")


def listening_at(pid: int) -> set[tuple[str, int]]:
    """Return the addresses and ports on which `pid` accepts connections; none if it has ended."""
    try:
        connections = psutil.Process(pid).net_connections("inet")
    except psutil.NoSuchProcess:
        return set()
    return {(one.laddr.ip, one.laddr.port) for one in connections if one.status == psutil.CONN_LISTEN}


def descendants(pid: int) -> list[int]:
    """Return the ids of the living children of `pid`, and theirs; none if it has ended."""
    return sorted(process.pid for process in _tree(pid) if _lives(process))


def open_fds(pid: int) -> int:
    """Return how many file descriptors `pid` has open."""
    return int(psutil.Process(pid).num_fds())


def rss_bytes(pid: int) -> int:
    """Return the resident memory of `pid`, its children not counted, in bytes."""
    return int(psutil.Process(pid).memory_info().rss)


async def _answers(client: httpx.AsyncClient, url: str) -> bool:
    try:
        response = await client.get(url)
    except httpx.HTTPError:
        return False
    return response.status_code == 200


def _tree(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _kill(process: psutil.Process) -> None:
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return
