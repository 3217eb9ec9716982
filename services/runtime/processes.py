"""Commands of other people, run so that nothing of them outlives us: the owner's side of the process guard."""

import asyncio
import contextlib
import errno
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Final, cast

from services.runtime import process_guard

START_LIMIT_S: Final = 10.0
DEFAULT_GRACE_S: Final = 2.0
LOG_BYTES: Final = 2**20
_READ_AHEAD_BYTES: Final = 2**18

_INHERITED: Final = frozenset(
    {"HOME", "LANG", "LANGUAGE", "LOGNAME", "PATH"}
    | {"SHELL", "SSL_CERT_DIR", "SSL_CERT_FILE", "TERM", "TMPDIR", "TZ", "USER"}
)


def child_environment(configured: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of somebody else's program: little of ours, and what is configured."""
    ours = {name: value for name, value in os.environ.items() if name in _INHERITED or name.startswith("LC_")}
    return {**ours, **configured}


class ProcessStartError(Exception):
    """The command could not be started. The text is the system's and names neither command nor path."""

    def __init__(self, number: int) -> None:
        """Keep the errno."""
        super().__init__(os.strerror(number))
        self.errno = number


class GuardedProcess:
    """A running command and its guard."""

    def __init__(
        self,
        leash: "_Leash",
        *,
        child_pid: int,
        stdin: asyncio.StreamWriter | None,
        stdout: asyncio.StreamReader | None,
    ) -> None:
        """Made by `guarded_process`."""
        self._leash = leash
        self.pid = leash.guard.pid
        """The guard's process id."""
        self.child_pid = child_pid
        """The command's own process id, which is also its process group and session."""
        self.stdin = stdin
        self.stdout = stdout

    async def wait(self) -> int:
        """Return the command's status (128 + n for signal n) once it and all it started are gone."""
        return await asyncio.shield(self._leash.ended)

    async def terminate(self, grace_s: float = DEFAULT_GRACE_S) -> int:
        """Send SIGTERM to the command's process group, SIGKILL after `grace_s` seconds; return as `wait()` does."""
        self._leash.stop(grace_s)
        return await self.wait()


@contextlib.asynccontextmanager
async def guarded_process(
    command: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    pipes: bool = False,
    may_interrupt: bool = True,
    log_path: Path | None = None,
    log_bytes: int = LOG_BYTES,
    stop_grace_s: float = DEFAULT_GRACE_S,
) -> AsyncIterator[GuardedProcess]:
    """Run `command` under a guard for as long as the context is open, and never longer.

    Args:
        command: the program, looked up in the PATH of `env`, and its arguments.
        cwd: where it runs; by default where we do.
        env: its whole environment; by default `child_environment({})`.
        pipes: whether its stdin and stdout are pipes to us; else stdin is empty and stdout goes to the log.
        may_interrupt: whether the kernel schedules it as ever, although we prefer batches; see `scheduling`.
        log_path: takes its stderr, mode 0600; without it stderr is dropped.
        log_bytes: at this size the log is moved to `<log_path>.1`, over the one before.
        stop_grace_s: between SIGTERM and SIGKILL when the context closes, in seconds.

    Raises:
        ProcessStartError: there is no such program or folder, or it may not be run.
    """
    job = {
        "command": list(command),
        "cwd": None if cwd is None else str(cwd),
        "env": dict(child_environment({}) if env is None else env),
        "log_path": None if log_path is None else str(log_path),
        "log_bytes": log_bytes,
        "pipes_stdout": pipes,
        "may_interrupt": may_interrupt,
    }
    async with contextlib.AsyncExitStack() as stack:
        guard, ours = _start_guard(pipes=pipes)
        leash = _Leash(guard)
        stack.push_async_callback(leash.end, stop_grace_s)
        connecting = asyncio.create_task(_connect(leash, ours, stack))
        try:
            stdin, stdout = await asyncio.shield(connecting)
        except asyncio.CancelledError:
            # A loop that is interrupted while it takes a pipe leaves it half closed.
            await asyncio.wait([connecting])
            raise
        leash.send(json.dumps(job).encode() + b"\n")
        async with asyncio.timeout(START_LIMIT_S):
            child_pid = await leash.started
        yield GuardedProcess(leash, child_pid=child_pid, stdin=stdin, stdout=stdout)


def _start_guard(*, pipes: bool) -> tuple["subprocess.Popen[bytes]", socket.socket]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with theirs:
        stream = subprocess.PIPE if pipes else subprocess.DEVNULL
        # A session of its own: Ctrl-C in our terminal is ours to handle. None of our environment: it holds secrets.
        guard = subprocess.Popen(
            [sys.executable, "-I", "-S", process_guard.__file__, str(theirs.fileno())],
            stdin=stream,
            stdout=stream,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env={name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ},
            start_new_session=True,
            pass_fds=[theirs.fileno()],
        )
    return guard, ours


async def _connect(
    leash: "_Leash", ours: socket.socket, stack: contextlib.AsyncExitStack
) -> tuple[asyncio.StreamWriter | None, asyncio.StreamReader | None]:
    """Let the event loop take our end of the leash and of the pipes; `stack` closes the pipes."""
    loop = asyncio.get_running_loop()
    await loop.create_unix_connection(lambda: leash, sock=ours)
    if leash.guard.stdin is None or leash.guard.stdout is None:
        return None, None
    # A writer's flow control is the protocol of a reader, which reads nothing here.
    write_end, flow = await loop.connect_write_pipe(
        lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), leash.guard.stdin
    )
    stack.callback(_abort, write_end)
    reader = asyncio.StreamReader(limit=_READ_AHEAD_BYTES)
    read_end, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), leash.guard.stdout)
    stack.callback(read_end.close)
    return asyncio.StreamWriter(write_end, flow, None, loop), reader


def _abort(transport: asyncio.WriteTransport) -> None:
    if not transport.is_closing():
        transport.abort()


class _Leash(asyncio.Protocol):
    """Our end of the guard's leash. When it closes, the guard has ended, and all it guarded."""

    def __init__(self, guard: "subprocess.Popen[bytes]") -> None:
        self.guard = guard
        loop = asyncio.get_running_loop()
        self.started: asyncio.Future[int] = loop.create_future()
        self.ended: asyncio.Future[int] = loop.create_future()
        self._transport: asyncio.WriteTransport | None = None
        self._heard = b""

    def send(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def stop(self, grace_s: float) -> None:
        self.send(b"stop %.3f\n" % grace_s)

    async def end(self, grace_s: float) -> None:
        """Stop the command and wait until nothing of it is left; at once if it has not started or we are cancelled."""
        try:
            if self.started.done():
                self.stop(grace_s)
                async with asyncio.timeout(grace_s + process_guard.KILL_LIMIT_S):
                    await asyncio.shield(self.ended)
        finally:
            self._collect()
            if self._transport is not None:
                _abort(self._transport)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        self._heard += data
        if self.started.done() or not self._heard.endswith(b"\n"):
            return
        word, number = self._heard.split()
        if word == b"started":
            self.started.set_result(int(number))
        else:
            self.started.set_exception(ProcessStartError(int(number)))

    def connection_lost(self, error: Exception | None) -> None:
        self._collect()

    def _collect(self) -> None:
        """Reap the guard, and if it was killed itself, do what it cannot do any more."""
        if self.ended.done():
            return
        # Whoever has let go of the leash is about to exit, and its status stands; for any other guard it is time.
        self.guard.kill()
        status = self.guard.wait()
        if not self.started.done():
            self.started.set_exception(ProcessStartError(errno.ECHILD))
            self.started.exception()  # seen, though perhaps nobody waits for it
        elif status < 0 and not self.started.cancelled() and self.started.exception() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.started.result(), signal.SIGKILL)
        self.ended.set_result(status)
