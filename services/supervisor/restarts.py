"""When a process that died is started again."""

from typing import Final

FIRST_DELAY_S: Final = 0.2
LONGEST_DELAY_S: Final = 15.0
STABLE_AFTER_S: Final = 10.0


def restart_delay_s(deaths: int) -> float:
    """Return the wait before the next start, in seconds: none, then 0.2 s doubling to 15 s.

    At once the first time, because most deaths are single; ever more slowly after that, so that a crash loop
    costs little.

    Args:
        deaths: in a row, counted from 1, each before the process was stable.
    """
    if deaths <= 1:
        return 0.0
    # The exponent is held down because 2 ** 5000 is no float.
    return min(FIRST_DELAY_S * 2.0 ** min(deaths - 2, 16), LONGEST_DELAY_S)


def deaths_after(deaths: int, *, ran_s: float) -> int:
    """Return the deaths in a row after one more, of a process that ran for `ran_s` seconds."""
    return 1 if ran_s >= STABLE_AFTER_S else deaths + 1
