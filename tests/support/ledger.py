"""The file in which a server notes each call, on the disk before the call goes on."""

import asyncio
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Literal

from tests.support.records import LedgerLine, encode_line

_Waiter = asyncio.Future[None] | None


class Ledger:
    """Appends lines; one thread writes and fsyncs, many lines at a time, so that the event loop never waits for a disk.

    Several processes may append to one file: each batch is a single write in append mode.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._lines: SimpleQueue[tuple[bytes, _Waiter] | None] = SimpleQueue()
        self._writer = threading.Thread(target=self._write, name="ledger", daemon=True)
        self._writer.start()

    async def note(self, call_id: str, event: Literal["start", "end"]) -> None:
        """Return when the line is on the disk."""
        waiter = asyncio.get_running_loop().create_future()
        self._lines.put((_line(call_id, event), waiter))
        await waiter

    def note_cancelled(self, call_id: str) -> None:
        """Have the line written soon; a cancelled task does not wait."""
        self._lines.put((_line(call_id, "cancelled"), None))

    def close(self) -> None:
        """Write what is left, and close the file."""
        self._lines.put(None)
        self._writer.join()
        os.close(self._file)

    def _write(self) -> None:
        while batch := self._next_batch():
            lines = [item for item in batch if item is not None]
            _write_all(self._file, b"".join(line for line, _ in lines))
            os.fsync(self._file)
            _wake([waiter for _, waiter in lines if waiter is not None])
            if batch[-1] is None:
                return

    def _next_batch(self) -> list[tuple[bytes, _Waiter] | None]:
        batch = [self._lines.get()]
        while batch[-1] is not None:
            try:
                batch.append(self._lines.get_nowait())
            except Empty:
                break
        return batch


def _line(call_id: str, event: Literal["start", "end", "cancelled"]) -> bytes:
    return encode_line(LedgerLine(id=call_id, event=event, pid=os.getpid(), at=time.time())) + b"\n"


def _write_all(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]


def _wake(waiters: Sequence[asyncio.Future[None]]) -> None:
    if waiters:
        loop = waiters[0].get_loop()
        loop.call_soon_threadsafe(_resolve, waiters)


def _resolve(waiters: Sequence[asyncio.Future[None]]) -> None:
    for waiter in waiters:
        if not waiter.done():  # its task may have been cancelled meanwhile
            waiter.set_result(None)
