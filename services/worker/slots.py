"""How many calls run at once, who waits, and when a wait is not worth beginning."""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from types import TracebackType

from services.runtime.errors import NoWorkerError, OverloadedError

_SMOOTHING = 0.1
"""Weight of the newest call in the mean duration; the mean follows a change within some twenty calls."""
_LONGER = 1.25
"""How much longer than expected a wait may turn out; who would come to the end of the line too late never joins it."""
_REMEMBERED = 32
_FEWEST = 10
"""Of so many calls at most and at least, the durations say how long one takes."""
_REPLY_MARGIN_S = 0.05
_REPLY_MARGIN_SHARE = 0.1
"""Of what is left until the deadline; the lesser of the two margins is kept."""


class Slots:
    """A bounded number of calls at once, and a bounded line of waiting ones, first come first served."""

    def __init__(
        self,
        count: int,
        *,
        longest_line: int,
        clock: Callable[[], float],
        has_room: Callable[[], bool] = lambda: True,
        is_served: Callable[[], bool] = lambda: True,
    ) -> None:
        """Set the bounds.

        Args:
            count: calls at once.
            longest_line: calls that may wait.
            clock: the moment now, in seconds.
            has_room: whether there is memory for one more result; while there is none, no call begins.
            is_served: whether there is a server to wait for; while there is none, nobody waits in line.
        """
        self._count = count
        self._longest_line = longest_line
        self._clock = clock
        self._has_room = has_room
        self._is_served = is_served
        self._in_use = 0
        self._line: deque[asyncio.Future[None]] = deque()
        self._mean_s = 0.0
        self._durations_s: deque[float] = deque(maxlen=_REMEMBERED)

    @property
    def count(self) -> int:
        return self._count

    @property
    def in_use(self) -> int:
        return self._in_use

    @property
    def waiting(self) -> int:
        return len(self._line)

    def expected_wait_s(self) -> float:
        """How long a call that came now would wait, by the mean duration of those before it."""
        return (len(self._line) + 1) * self._mean_s / self._count

    def least_run_s(self) -> float:
        """How long a call runs at least: nine of ten of the latest ones took longer; 0 while there were few."""
        durations = sorted(self._durations_s)
        return durations[len(durations) // 10] if len(durations) >= _FEWEST else 0.0

    def hold(self, deadline: float) -> AbstractAsyncContextManager[None]:
        """Hold a slot while the context lasts.

        Raises, when it is entered:
            OverloadedError: at once, when the line is full, when the wait would leave too little of the time until
                `deadline` (a moment of the clock), or when there is no room for a result; else when so little is left
                that a call could not end by then, and that the refusal still reaches the caller and is not taken
                for a call that may have run.
            NoWorkerError: when the wait would be, or has become, one for a server that is away.
        """
        return _Held(self, deadline)

    async def _take(self, deadline: float) -> float:
        """Take a slot, which `_give_back` gives back; return the moment of the clock."""
        if not self._has_room():
            raise OverloadedError
        if self._in_use < self._count:
            self._in_use += 1
        else:
            await self._wait_in_line(deadline)
            if not self._has_room():  # any more
                self._hand_over()
                raise OverloadedError
        return self._clock()

    def _give_back(self, taken_at: float) -> None:
        """Give back a slot that was taken at this moment."""
        self._note(self._clock() - taken_at)
        self._hand_over()

    def send_away(self) -> None:
        """Let who waits go elsewhere if the server is away: the calls before them may hang until their deadlines."""
        if self._is_served():
            return
        for turn in self._line:
            if not turn.done():
                turn.set_exception(NoWorkerError())
        self._line.clear()

    async def _wait_in_line(self, deadline: float) -> None:
        if not self._is_served():
            raise NoWorkerError
        now = self._clock()
        # Who would get a slot too late for its call to end in time would only keep it from somebody else.
        latest = deadline - min(_REPLY_MARGIN_S, _REPLY_MARGIN_SHARE * (deadline - now)) - self.least_run_s()
        if len(self._line) >= self._longest_line or now + _LONGER * self.expected_wait_s() > latest:
            raise OverloadedError
        turn = asyncio.get_running_loop().create_future()
        self._line.append(turn)
        try:
            async with asyncio.timeout_at(latest):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                if turn.exception() is None:
                    self._hand_over()  # the slot was handed to us in the moment in which we gave up
            else:
                with suppress(ValueError):  # a hand-over in the same moment has passed us by already
                    self._line.remove(turn)
            if isinstance(error, TimeoutError):
                raise OverloadedError from error
            raise

    def _note(self, duration_s: float) -> None:
        self._mean_s += _SMOOTHING * (duration_s - self._mean_s)
        self._durations_s.append(duration_s)

    def _hand_over(self) -> None:
        """Give the slot to the next in line; while somebody waits it is never free."""
        while self._line:
            turn = self._line.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._in_use -= 1


class _Held:
    """See `Slots.hold`."""

    __slots__ = ("_deadline", "_slots", "_taken_at")

    def __init__(self, slots: Slots, deadline: float) -> None:
        self._slots = slots
        self._deadline = deadline

    async def __aenter__(self) -> None:
        self._taken_at = await self._slots._take(self._deadline)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._slots._give_back(self._taken_at)
