"""Starts processes of ours without importing everything anew for each: forked from a process that has imported it.

Importing is four fifths of the processor time that the start of a process takes, and the tests start hundreds. The
child is a process like any other, with arguments, environment, output and exit status of its own; only its command
line, seen from outside, is that of the process it was forked from. `make test` uses it where BUSBAR_TEST_WARM_START
is set; everything that is measured, and whatever starts processes itself, starts them cold.
"""

import contextlib
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NoReturn

import orjson

WARM: Final = {
    "services.orchestrator": "services.orchestrator.app",
    "services.admin": "services.admin.app",
    "services.health": "services.health.app",
    "services.worker": "services.worker.probes",
    "tests.support.load": "tests.support.senders",
    "tests.support.ledger_server": "mcp.server.lowlevel",
}
"""Modules that can be run, and what is imported beforehand for each."""

_SWITCH: Final = "BUSBAR_TEST_WARM_START"
_POLL_S: Final = 0.01


def can_start(argv: list[str]) -> bool:
    """Whether the command is to be forked: it runs one of `WARM`, and that is wanted."""
    return os.environ.get(_SWITCH) == "1" and argv[:2] == [sys.executable, "-m"] and argv[2] in WARM


@contextmanager
def cold_starts() -> Iterator[None]:
    """Start processes by their commands inside, whatever is wanted."""
    wanted = os.environ.pop(_SWITCH, None)
    try:
        yield
    finally:
        if wanted is not None:
            os.environ[_SWITCH] = wanted


class WarmProcess:
    """A forked process: as much of `subprocess.Popen` as tests need."""

    def __init__(self, argv: list[str], *, stdout: Path, stderr: Path, env: Mapping[str, str], cwd: Path) -> None:
        """Start the module `argv` names."""
        for path in (stdout, stderr):
            path.touch(mode=0o600)
        self._status_path = stdout.with_suffix(".status")
        self.pid = _server().start(
            {
                "module": argv[2],
                "arguments": argv[3:],
                "stdout": str(stdout),
                "stderr": str(stderr),
                "status": str(self._status_path),
                "env": dict(env),
                "cwd": str(cwd),
            }
        )
        self._returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit status, negative for a signal; None while it runs."""
        if self._returncode is None:
            with contextlib.suppress(FileNotFoundError):
                self._returncode = int(self._status_path.read_text())
        return self._returncode

    def wait(self) -> int:
        """Return the exit status when it has ended."""
        while (status := self.poll()) is None:
            time.sleep(_POLL_S)
        return status

    def send_signal(self, number: int) -> None:
        """Signal it; nothing happens if it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class _Server:
    """Our end of the process that forks."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("BUSBAR_")}
        subprocess.Popen(
            [sys.executable, "-m", __name__, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
        theirs.close()
        self._socket = ours

    def start(self, request: Mapping[str, Any]) -> int:
        """Return the id of the process that runs what is asked for."""
        self._socket.send(orjson.dumps(request))
        return int(self._socket.recv(64))


@cache
def _server() -> _Server:
    return _Server()


def _serve(requests: socket.socket) -> None:
    """Fork a child for each request, and write down with which status it ends; until nobody asks any more."""
    for module in WARM.values():
        import_module(module)
    status_paths: dict[int, Path] = {}
    ended, told = os.pipe()
    os.set_blocking(told, False)
    os.set_blocking(ended, False)
    signal.set_wakeup_fd(told)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        readable, _, _ = select.select([requests.fileno(), ended], [], [])
        if ended in readable:
            os.read(ended, 4096)
            _note_ended(status_paths)
        if requests.fileno() in readable:
            data = requests.recv(1 << 20)
            if not data:
                return
            request = orjson.loads(data)
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for descriptor in (requests.detach(), ended, told):
                    os.close(descriptor)
                _run(request)
            status_paths[pid] = Path(request["status"])
            requests.send(str(pid).encode())


def _note_ended(status_paths: dict[int, Path]) -> None:
    while status_paths:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        path = status_paths.pop(pid)
        with contextlib.suppress(FileNotFoundError):  # its folder has gone: nobody asks
            unfinished = path.with_suffix(".ending")
            unfinished.write_text(str(os.waitstatus_to_exitcode(status)))
            unfinished.rename(path)


def _run(request: Mapping[str, Any]) -> NoReturn:
    """Become the process that is asked for."""
    status = 1
    try:
        os.setsid()
        os.chdir(request["cwd"])
        for descriptor, path in ((1, request["stdout"]), (2, request["stderr"])):
            opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(opened, descriptor)
            os.close(opened)
        os.environ.clear()
        os.environ.update(request["env"])
        module = request["module"]
        sys.argv = [module, *request["arguments"]]
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:  # noqa: BLE001 - it is the last that sees it
            sys.excepthook(*sys.exc_info())
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
