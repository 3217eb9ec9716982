"""The order to stop: Ctrl-C, SIGTERM, or the end of the terminal."""

import asyncio
import signal
from collections.abc import Callable
from typing import Final

STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopOrder:
    """Given once by the first signal; those that follow change nothing, they only get an answer."""

    def __init__(self, *, repeated: Callable[[], None]) -> None:
        """Take what answers a signal after the first."""
        self.given = asyncio.Event()
        self._repeated = repeated

    def obey_signals(self) -> None:
        """Listen from now on."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self._give)
        loop.add_signal_handler(signal.SIGTERM, self._give)
        # Started under nohup, we are to outlive the terminal.
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            loop.add_signal_handler(signal.SIGHUP, self._give)
        # `busbar up` has held back what came while we were loading.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)

    def _give(self) -> None:
        if self.given.is_set():
            self._repeated()
        self.given.set()
