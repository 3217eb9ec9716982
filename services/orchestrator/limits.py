"""A key's rate and its calls at once: a token bucket and a counter for each principal."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from types import TracebackType
from typing import Final

from services.runtime.auth.principals import Principal
from services.runtime.errors import RateLimitedError

_UNLIMITED: Final = nullcontext()


@dataclass(slots=True)
class _Usage:
    """What a principal has used; as a context, one call more."""

    tokens: float
    refilled_at: float
    in_flight: int = 0

    def __enter__(self) -> None:
        self.in_flight += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.in_flight -= 1


class Limits:
    """What each principal has used; principals without limits are not counted."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._usage: dict[str, _Usage] = {}

    def admit(self, principal: Principal) -> AbstractContextManager[None]:
        """Let one call of `principal` in, and count it while the context lasts.

        The bucket holds one second's worth of calls, and at least one.

        Raises:
            RateLimitedError: the principal is over its rate, or has too many calls in flight.
        """
        rate, most = principal.rate_per_s, principal.max_in_flight
        if rate is None and most is None:
            return _UNLIMITED
        now = self._clock()
        burst = max(1.0, rate or 0.0)
        usage = self._usage.setdefault(principal.id, _Usage(burst, now))
        if most is not None and usage.in_flight >= most:
            raise RateLimitedError
        if rate is not None:
            usage.tokens = min(burst, usage.tokens + (now - usage.refilled_at) * rate)
            usage.refilled_at = now
            if usage.tokens < 1:
                raise RateLimitedError(retry_after_s=(1 - usage.tokens) / rate)
            usage.tokens -= 1
        return usage
