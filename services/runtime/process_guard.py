"""Runs one command and leaves nothing of it behind, however its owner ends.

A script, run as `python -I -S process_guard.py FD`. FD is the leash: one end of a socket pair whose other end only
the owner has, so that it closes when the owner dies, by kill -9 too. The owner writes the job as one line of JSON
(`command`, `cwd`, `env`, `log_path`, `log_bytes`, `pipes_stdout`, `may_interrupt`), and later perhaps `stop <seconds>`.
The guard answers `started <pid>` or `failed <errno>`. Nothing about the command is in its arguments or environment.

The command has the guard's stdin and, with `pipes_stdout`, its stdout: no byte passes through the guard. What it
writes elsewhere goes to the log file, which is bounded by rotation. When the command ends, the guard kills what
it left running, grandchildren in sessions of their own included, and exits with the command's status (128 + n
for signal n). Should the guard itself be killed, the kernel kills the command and its process group.

Linux only; nothing but the standard library, because it must start in milliseconds.
"""

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any, Final, NoReturn

PR_SET_PDEATHSIG: Final = 1
PR_SET_CHILD_SUBREAPER: Final = 36
ORPHANED_GRACE_S: Final = 1.0
KILL_LIMIT_S: Final = 10.0
CHUNK_BYTES: Final = 65536
TRIPWIRE_FD: Final = 64
"""Where the command finds its end of the tripwire, or above: out of the way of scripts, which use low numbers and
round ones, and of node, which closes for its children what it finds open below."""

_libc = ctypes.CDLL(None, use_errno=True)


def main() -> int:
    """Do the job that comes over the leash; return the exit status."""
    leash = int(sys.argv[1])
    os.set_inheritable(leash, False)
    line = b""
    while not line.endswith(b"\n"):
        chunk = os.read(leash, CHUNK_BYTES)
        if not chunk:
            return 1
        line += chunk
    return Guard(leash, json.loads(line)).run()


class Guard:
    """One command, from its start until nothing of it is left."""

    def __init__(self, leash: int, job: dict[str, Any]) -> None:
        """Take the job; nothing is started yet."""
        self._leash = leash
        self._job = job
        self._log = Log(job["log_path"], job["log_bytes"])
        self._child = 0
        self._status: int | None = None
        self._stop_at: float | None = None

    def run(self) -> int:
        """Start the command, wait for its end or the order to end it, and clear up; return its status."""
        _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        woken = self._listen_to_signals()
        output, output_of_child = os.pipe()
        os.set_blocking(output, False)
        try:
            self._child = self._start(output_of_child)
        except OSError as error:
            os.write(self._leash, b"failed %d\n" % (error.errno or errno.EIO))
            return 127
        os.close(output_of_child)
        os.write(self._leash, b"started %d\n" % self._child)
        poll = select.poll()
        for descriptor in (self._leash, woken, output):
            poll.register(descriptor, select.POLLIN)
        while not self._is_over():
            for descriptor, _ in poll.poll(self._milliseconds_left()):
                if descriptor == woken:
                    self._obey_signals(os.read(woken, CHUNK_BYTES))
                elif descriptor == output:
                    if not self._log.copy(output):
                        poll.unregister(output)
                elif not self._obey_owner():
                    poll.unregister(self._leash)
            self._reap()
        self._kill_all()
        while self._log.copy(output):
            pass
        return self._status if self._status is not None else 1

    def _start(self, output: int) -> int:
        """Start the command; return its process id.

        Raises:
            OSError: it could not be started.
        """
        guard = os.getpid()
        report, report_of_child = os.pipe()
        # Nobody writes to it: that our end closes, as it does however we end, is all that it tells.
        tripwire, our_end = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(our_end)
            _become(self._job, guard=guard, output=output, report=report_of_child, tripwire=tripwire)
        os.close(report_of_child)
        os.close(tripwire)
        with open(report, "rb") as reader:  # noqa: PTH123
            failure = reader.read()
        if failure:
            os.waitpid(child, 0)
            raise OSError(int(failure), os.strerror(int(failure)))
        # The command must see the end of its input, and its reader the end of its output, without us.
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        os.close(null)
        return child

    @staticmethod
    def _listen_to_signals() -> int:
        """Return a descriptor on which the number of each signal arrives as a byte."""
        woken, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: None)
        return woken

    def _obey_signals(self, numbers: bytes) -> None:
        if set(numbers) & {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}:
            self._stop(ORPHANED_GRACE_S)

    def _obey_owner(self) -> bool:
        """Read the leash; return whether there is still somebody at its other end."""
        try:
            order = os.read(self._leash, CHUNK_BYTES)
        except ConnectionResetError:
            order = b""
        if not order:
            self._stop(ORPHANED_GRACE_S)
        for line in order.splitlines():
            self._stop(float(line.removeprefix(b"stop ")))
        return bool(order)

    def _stop(self, grace_s: float) -> None:
        """Ask the command to end, and everything in its process group; in `grace_s` seconds it is killed."""
        stop_at = time.monotonic() + grace_s
        self._stop_at = stop_at if self._stop_at is None else min(stop_at, self._stop_at)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child, signal.SIGTERM)

    def _reap(self) -> bool:
        """Collect whoever has ended, orphans that became ours included; return whether anybody is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self._child:
                code = os.waitstatus_to_exitcode(status)
                self._status = code if code >= 0 else 128 - code
                if self._stop_at is not None:
                    # Whoever it started outside its process group has not been asked yet.
                    _signal_descendants(signal.SIGTERM)

    def _is_over(self) -> bool:
        if self._stop_at is None:
            return self._status is not None
        # Asked to stop, the whole family has until then: `npx` is gone before the server it started is.
        return time.monotonic() >= self._stop_at or not self._reap()

    def _milliseconds_left(self) -> float | None:
        return None if self._stop_at is None else max(0.0, self._stop_at - time.monotonic()) * 1000

    def _kill_all(self) -> None:
        """Kill and collect every descendant. As a subreaper we inherit whoever is orphaned meanwhile."""
        give_up_at = time.monotonic() + KILL_LIMIT_S
        while self._reap() and time.monotonic() < give_up_at:
            _signal_descendants(signal.SIGKILL)
            time.sleep(0.005)


class Log:
    """The command's last words, at most twice `limit` bytes of them: in the file, and in the one before it."""

    def __init__(self, path: str | None, limit: int) -> None:
        """Open the file as our own standard error, so that a fault of the guard is told there too."""
        self._path = path
        self._limit = limit
        self._written = 0
        self._open()

    def copy(self, source: int) -> bool:
        """Move a chunk from `source` to the file; return whether there may be more."""
        try:
            chunk = os.read(source, min(CHUNK_BYTES, self._limit))
        except BlockingIOError:
            return False
        if self._path is not None and self._written + len(chunk) > self._limit:
            os.replace(self._path, self._path + ".1")  # noqa: PTH105
            self._open()
        # A full disk must not stop the command.
        with contextlib.suppress(OSError):
            os.write(2, chunk)
            self._written += len(chunk)
        return bool(chunk)

    def _open(self) -> None:
        if self._path is None:
            return
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self._path, flags, 0o600)
        os.fchmod(descriptor, 0o600)
        self._written = os.fstat(descriptor).st_size
        os.dup2(descriptor, 2)
        os.close(descriptor)


def _become(job: dict[str, Any], *, guard: int, output: int, report: int, tripwire: int) -> NoReturn:
    """Turn this fresh child into the command, or write the errno to `report` and exit."""
    try:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != guard:  # it died before the line above
            os._exit(127)
        os.setsid()
        _die_with_writer_of(tripwire)
        # Python ignores these, and what is ignored stays ignored across exec.
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        if not job["pipes_stdout"]:
            os.dup2(output, 1)
        os.dup2(output, 2)
        if job["cwd"] is not None:
            os.chdir(job["cwd"])
        with contextlib.suppress(OSError):
            if job["may_interrupt"] and os.sched_getscheduler(0) == os.SCHED_BATCH:
                os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        os.execvpe(job["command"][0], job["command"], job["env"])  # noqa: S606
    except OSError as error:
        os.write(report, b"%d" % (error.errno or errno.EIO))
    finally:
        os._exit(127)


def _die_with_writer_of(tripwire: int) -> None:
    """Have the kernel kill our process group when the last writer of a pipe is gone.

    It holds for as long as anybody of ours keeps the descriptor open: the command itself, and all that inherit it.
    """
    # Where the system knows no such signals, the command still dies by PR_SET_PDEATHSIG.
    with contextlib.suppress(OSError):
        inherited = fcntl.fcntl(tripwire, fcntl.F_DUPFD, TRIPWIRE_FD)
        fcntl.fcntl(inherited, fcntl.F_SETOWN, -os.getpid())
        fcntl.fcntl(inherited, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(inherited, fcntl.F_SETFL, os.O_ASYNC)


def _signal_descendants(number: int) -> None:
    for pid in _descendants(os.getpid()):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _descendants(ancestor: int) -> list[int]:
    """Return the ids of all processes that descend from `ancestor`."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # pid (name) state ppid …; the name may hold spaces and brackets.
            parent = int(stat.read_text(errors="replace").rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(stat.parent.name))
    found = children.get(ancestor, [])
    for pid in found:
        found.extend(children.get(pid, []))
    return found


if __name__ == "__main__":
    sys.exit(main())
