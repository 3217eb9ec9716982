"""When what is published is written."""

from services.runtime.bus.pace import WritePace


def waits(every_s: float, messages: int = 20) -> list[float]:
    pace = WritePace()
    return [pace.wait_s(1000 + number * every_s) for number in range(messages)]


def test_the_first_messages_wait_for_nothing() -> None:
    assert waits(0.0)[:4] == [0.0] * 4


def test_many_wait_for_each_other_and_few_do_not() -> None:
    assert set(waits(0.0005)[4:]) == {0.002}
    assert set(waits(0.001)) == {0.0}


def test_who_was_in_a_hurry_is_not_any_more_after_a_pause() -> None:
    pace = WritePace()
    told = [pace.wait_s(moment) for moment in (1.0, 1.0001, 1.0002, 1.0003, 1.0004, 1.1, 1.1001)]
    assert told == [0.0, 0.0, 0.0, 0.0, 0.002, 0.0, 0.0]
