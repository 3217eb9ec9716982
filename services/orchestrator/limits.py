"""A key's rate and its calls at once: a token bucket and a counter for each principal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from services.runtime.auth.principals import Principal
from services.runtime.errors import RateLimitedError


@dataclass(slots=True)
class _Usage:
    tokens: float
    refilled_at: float
    in_flight: int = 0


class Limits:
    """What each principal has used; principals without limits are not counted."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._usage: dict[str, _Usage] = {}

    @contextmanager
    def admit(self, principal: Principal) -> Iterator[None]:
        """Count one call of `principal` while the context lasts.

        The bucket holds one second's worth of calls, and at least one.

        Raises:
            RateLimitedError: the principal is over its rate, or has too many calls in flight.
        """
        rate, most = principal.rate_per_s, principal.max_in_flight
        if rate is None and most is None:
            yield
            return
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
        usage.in_flight += 1
        try:
            yield
        finally:
            usage.in_flight -= 1
