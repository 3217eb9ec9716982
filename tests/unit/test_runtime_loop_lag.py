"""How late the event loop is: the longest delay of late, without waiting for real."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from services.runtime.loop_lag import LoopLag

pytestmark = pytest.mark.anyio


class Sleeper:
    """Sleeps late by the test's word, in no time."""

    def __init__(self, *delays_s: float) -> None:
        self.now = 0.0
        self._delays_s = iter(delays_s)

    async def sleep(self, seconds: float) -> None:
        delay_s = next(self._delays_s, None)
        if delay_s is None:
            raise asyncio.CancelledError
        self.now += seconds + delay_s


async def lag(*delays_s: float) -> float | None:
    registry, sleeper = CollectorRegistry(), Sleeper(*delays_s)
    sampler = LoopLag(registry, clock=lambda: sleeper.now, sleep=sleeper.sleep)
    with pytest.raises(asyncio.CancelledError):
        await sampler.sample()
    return registry.get_sample_value("busbar_event_loop_lag_seconds")


async def test_the_longest_delay_counts() -> None:
    assert await lag(0.1, 0.3, 0.2) == pytest.approx(0.3)


async def test_a_delay_is_told_for_ten_seconds_and_forgotten_after_twenty() -> None:
    assert await lag(0.3, *[0.0] * 50) == pytest.approx(0.3)
    assert await lag(0.3, *[0.0] * 90) == pytest.approx(0.0)


async def test_nothing_is_told_before_anything_is_known() -> None:
    assert await lag() == 0
