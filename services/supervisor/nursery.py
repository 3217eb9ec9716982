"""Starts services of ours, each forked from one process that has imported what they need: the cradle."""

import asyncio
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from services.runtime.processes import child_environment
from services.supervisor import cradle
from services.supervisor.children import Child, ChildStartError

_START_LIMIT_S: Final = 60.0
"""The first start of each kind waits for what it imports."""
_LOST: Final = 1
"""The status of a service whose end nobody has seen, because the cradle had died before."""
_OF_THE_INTERPRETER: Final = ("PYTHON", "LD_LIBRARY_PATH")


@dataclass(frozen=True, slots=True)
class Birth:
    """How a service is started."""

    name: str
    module: str
    arguments: Sequence[str]
    imports: Sequence[str]
    environment: Mapping[str, str] = field(repr=False)
    lifeline: int
    log_path: Path


class Nursery:
    """Has a cradle from the first start on, and another one should it die; its services go on meanwhile."""

    def __init__(self, log_path: Path) -> None:
        """Start nothing yet; `log_path` takes what the cradle itself has to say."""
        self._log_path = log_path
        self._cradle: _Cradle | None = None
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def child(self, birth: Birth) -> AsyncIterator[Child]:
        """Run a service.

        Raises:
            ChildStartError: it could not be started.
        """
        bearing = asyncio.create_task(self._bear(birth))
        try:
            child = await asyncio.shield(bearing)
        except asyncio.CancelledError:
            bearing.add_done_callback(_kill_unwanted)
            raise
        try:
            yield child
        finally:
            await child.end()

    def close(self) -> None:
        """End the cradle. Services that still run have their lifelines."""
        if self._cradle is not None:
            self._cradle.close()
            self._cradle = None

    async def _bear(self, birth: Birth) -> "_ForkedChild":
        async with self._turn:
            try:
                if self._cradle is None or self._cradle.is_gone:
                    self._cradle = _Cradle(self._log_path)
                async with asyncio.timeout(_START_LIMIT_S):
                    return await self._cradle.bear(birth)
            except TimeoutError as error:
                self.close()
                raise ChildStartError("it took too long") from error
            except OSError as error:
                raise ChildStartError(error.strerror) from error


@contextmanager
def open_nursery(log_path: Path) -> Iterator[Nursery]:
    """Yield a nursery whose cradle ends with the context."""
    nursery = Nursery(log_path)
    try:
        yield nursery
    finally:
        nursery.close()


class _Cradle:
    """Our end of the process that services are forked from."""

    def __init__(self, log_path: Path) -> None:
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._line.setblocking(False)
        self._children: dict[int, _ForkedChild] = {}
        self._started: asyncio.Future[_ForkedChild] | None = None
        self.is_gone = False
        variables = {name: value for name, value in os.environ.items() if name.startswith(_OF_THE_INTERPRETER)}
        with theirs, _open_log(log_path) as log:
            self._process = subprocess.Popen(
                # -P: a folder `services` where somebody types `busbar up` must not be taken for ours.
                [sys.executable, "-P", "-m", cradle.__name__, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=child_environment(variables),
                start_new_session=True,
                pass_fds=[theirs.fileno()],
            )
        asyncio.get_running_loop().add_reader(self._line, self._hear)

    async def bear(self, birth: Birth) -> "_ForkedChild":
        """Return a new service; one at a time. Raises OSError."""
        about = {
            "module": birth.module,
            "arguments": list(birth.arguments),
            "environment": dict(birth.environment),
            "imports": list(birth.imports),
            "name": birth.name,
        }
        started: asyncio.Future[_ForkedChild] = asyncio.get_running_loop().create_future()
        self._started = started
        with _held(json.dumps(about).encode()) as job, _open_log(birth.log_path) as log:
            socket.send_fds(self._line, [b"\n"], [job, log, birth.lifeline])
        return await started

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._leave()

    def _hear(self) -> None:
        try:
            told = self._line.recv(64)
        except BlockingIOError:
            return
        except OSError:
            told = b""
        match told.split():
            case [b"started", pid] if self._started is not None and not self._started.done():
                child = self._children[int(pid)] = _ForkedChild(int(pid))
                self._started.set_result(child)
            case [b"ended", pid, status]:
                if (ended := self._children.pop(int(pid), None)) is not None:
                    ended.tell_status(int(status))
            case [b"failed"] if self._started is not None and not self._started.done():
                self._started.set_exception(ChildStartError("it could not be forked"))
            case []:
                self._leave()

    def _leave(self) -> None:
        if self.is_gone:
            return
        self.is_gone = True
        asyncio.get_running_loop().remove_reader(self._line)
        self._line.close()
        self._process.kill()
        self._process.wait()
        if self._started is not None and not self._started.done():
            self._started.set_exception(ChildStartError("what it is forked from has died"))
        for child in self._children.values():
            child.orphan()
        self._children.clear()


class _ForkedChild:
    """A service: a child of the cradle's, known to us by a descriptor that stays its own when its id does not."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        try:
            self._descriptor: int | None = os.pidfd_open(pid)
        except ProcessLookupError:  # it has ended already; its status is on its way
            self._descriptor = None

    async def wait(self) -> int:
        return await asyncio.shield(self._ended)

    async def stop(self, limit_s: float) -> int:
        self._signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(limit_s):
                return await self.wait()
        except TimeoutError:
            self._signal(signal.SIGKILL)
            return await self.wait()

    async def end(self) -> None:
        """Make sure that it has ended."""
        self._signal(signal.SIGKILL)
        await self.wait()

    def tell_status(self, status: int) -> None:
        """Take the status with which it ended, negative for a signal."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        if not self._ended.done():
            self._ended.set_result(status if status >= 0 else 128 - status)

    def orphan(self) -> None:
        """See to it ourselves that we learn of its end: nobody will tell us its status."""
        if self._descriptor is None:
            self.tell_status(_LOST)
            return
        asyncio.get_running_loop().add_reader(self._descriptor, self._end_seen)

    def _end_seen(self) -> None:
        if self._descriptor is not None and _is_over(self._descriptor):
            asyncio.get_running_loop().remove_reader(self._descriptor)
            self.tell_status(_LOST)

    def _signal(self, number: signal.Signals) -> None:
        if self._descriptor is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._descriptor, number)


def _is_over(descriptor: int) -> bool:
    return bool(select.select([descriptor], [], [], 0)[0])


def _kill_unwanted(bearing: "asyncio.Task[_ForkedChild]") -> None:
    if not bearing.cancelled() and bearing.exception() is None:
        bearing.result()._signal(signal.SIGKILL)


@contextmanager
def _held(data: bytes) -> Iterator[int]:
    """Yield a descriptor of a file in memory that holds `data`."""
    descriptor = os.memfd_create("job")
    try:
        os.write(descriptor, data)
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _open_log(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
