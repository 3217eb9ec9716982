"""The process that services are forked from: `python -m services.supervisor.cradle FD`, started by `nursery`.

Importing is most of what the start of a service costs, and what services import is mostly the same. Here it is imported
once; a service that dies is back in a tenth of the time.

FD is our end of a socket pair. Each request on it is one byte, with three descriptors: the job as JSON in a file
(`module`, `arguments`, `environment`, `imports`, `name`), where its output goes, and the lifeline, which the service
finds in its environment. The answer is `started <pid>`, or `failed`; later comes `ended <pid> <status>`. When the other
end closes we end; services have lifelines of their own.

Nothing of the operator's is in our environment: who is forked here gets what the job says, and nothing else.
"""

import ctypes
import gc
import json
import os
import runpy
import select
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from typing import Any, Final, NamedTuple

from services.runtime.lifecycle import LIFELINE_FD

_PR_SET_NAME: Final = 15
_MOST_BYTES: Final = 64


class Job(NamedTuple):
    """A service to become."""

    about: Mapping[str, Any]
    output: int
    lifeline: int


def main() -> int:
    """Fork services until nobody wants any more; in a forked process, be that service."""
    gc.disable()  # the pages that all share would each be copied where they are collected
    with socket.socket(fileno=int(sys.argv[1])) as line:
        job = _serve(line)
    return 0 if job is None else _become(job)


def _serve(line: socket.socket) -> Job | None:
    """Return the job in the process that is to do it, None in ours when it is over."""
    ended, told = os.pipe()
    os.set_blocking(ended, False)
    os.set_blocking(told, False)
    signal.set_wakeup_fd(told)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        readable, _, _ = select.select([line.fileno(), ended], [], [])
        if ended in readable:
            os.read(ended, 4096)
            _tell_ended(line)
        if line.fileno() not in readable:
            continue
        asked, descriptors, _, _ = socket.recv_fds(line, _MOST_BYTES, 3)
        if not asked:
            return None
        about, output, lifeline = descriptors
        job = Job(_read(about), output, lifeline)
        for module in job.about["imports"]:
            with suppress(Exception):  # the service fails by it, too, and says so in its own log
                import_module(module)
        gc.freeze()
        try:
            pid = os.fork()
        except OSError:
            line.send(b"failed")
        else:
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                os.close(ended)
                os.close(told)
                return job
            line.send(b"started %d" % pid)
        os.close(output)
        os.close(lifeline)


def _read(descriptor: int) -> Mapping[str, Any]:
    with os.fdopen(descriptor, "rb") as file:
        file.seek(0)
        about: Mapping[str, Any] = json.load(file)
        return about


def _tell_ended(line: socket.socket) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        line.send(b"ended %d %d" % (pid, os.waitstatus_to_exitcode(status)))


def _become(job: Job) -> int:
    """Be the service; return its exit status."""
    about = job.about
    os.setsid()  # a Ctrl-C in our terminal is the supervisor's to handle
    os.dup2(job.output, 1)
    os.dup2(job.output, 2)
    os.close(job.output)
    os.environ.clear()
    os.environ.update({**about["environment"], LIFELINE_FD: str(job.lifeline)})
    _set_name(about["name"])
    sys.argv = [about["module"], *about["arguments"]]
    gc.enable()
    try:
        runpy.run_module(about["module"], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if isinstance(end.code, int):
            return end.code
        raise
    return 0


def _set_name(name: str) -> None:
    """Let `ps` and `top` show who this is; our arguments are those of the process that we were forked from."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_NAME, name.encode()[:15], 0, 0, 0)


if __name__ == "__main__":
    raise SystemExit(main())
