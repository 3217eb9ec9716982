"""How late a message is, whatever the sender's clock says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.clocks import SenderClock, SenderClocks, sender_of

OFFSETS = st.floats(-30, 30)


@given(offset=OFFSETS, delay=st.floats(0.01, 100))
def test_a_delay_is_found_whatever_the_offset_of_the_clocks(offset: float, delay: float) -> None:
    clock = SenderClock()
    for second in range(10):
        assert clock.delay_s(1000.0 + second + offset, 1000.0 + second) == pytest.approx(0, abs=1e-6)

    assert clock.delay_s(1010.0 + offset, 1010.0 + delay) == pytest.approx(delay, abs=1e-6)


@given(offset=OFFSETS)
def test_a_first_message_within_the_allowance_counts_as_on_time(offset: float) -> None:
    assert SenderClock().delay_s(1000.0 - offset, 1000.0) == 0


def test_a_first_message_beyond_the_allowance_is_late() -> None:
    assert SenderClock().delay_s(1000.0, 1090.0) == pytest.approx(60)


def test_a_clock_that_was_set_is_believed_within_twenty_seconds() -> None:
    clock = SenderClock()
    clock.delay_s(1000.0, 1000.0)
    for second in range(1, 23):
        late = clock.delay_s(1000.0 + second - 20.0, 1000.0 + second)  # set back by 20 s

    assert late == pytest.approx(0)


@pytest.mark.parametrize("stalled_s", [3.0, 15.0, 300.0])
def test_messages_that_a_broker_held_back_are_late_all_of_them(stalled_s: float) -> None:
    clock = SenderClock()
    for second in range(25):
        clock.delay_s(1000.0 + second, 1000.0 + second)

    held_until = 1025.0 + stalled_s
    late = [clock.delay_s(1025.0 + index / 10, held_until) for index in range(20)]
    assert late == [pytest.approx(stalled_s - index / 10) for index in range(20)]


def test_senders_have_clocks_of_their_own_and_who_was_not_heard_for_longest_is_forgotten() -> None:
    now = 1000.0
    clocks = SenderClocks(lambda: now, most=2)
    clocks.delay_s("a", 990.0)
    clocks.delay_s("b", 1000.0)
    assert clocks.delay_s("a", 985.0) == pytest.approx(5)

    clocks.delay_s("c", 1000.0)
    assert clocks.delay_s("a", 985.0) == pytest.approx(5)
    assert clocks.delay_s("b", 985.0) == 0  # unknown again


def test_the_worst_of_the_clocks_that_were_heard_lately_is_shown() -> None:
    now = 1000.0
    clocks = SenderClocks(lambda: now)
    assert (clocks.largest_offset_s, clocks.longest_delay_s) == (0, 0)
    for second in range(5):
        clocks.delay_s("before", 1000.0 + second + 25)
        clocks.delay_s("behind", 1000.0 + second - 7)
        now += 1
    assert clocks.largest_offset_s == pytest.approx(25, abs=1.1)
    clocks.delay_s("behind", now - 7 - 3)
    assert clocks.longest_delay_s == pytest.approx(3, abs=1.1)

    now += 15
    clocks.delay_s("behind", now - 7)
    assert clocks.largest_offset_s == pytest.approx(25, abs=1.1)
    now += 15
    clocks.delay_s("behind", now - 7)
    assert clocks.largest_offset_s == pytest.approx(7, abs=1.1)  # who was before is not heard any more
    now += 15
    clocks.delay_s("behind", now - 7)
    assert clocks.longest_delay_s == 0


@pytest.mark.parametrize(
    ("reply_to", "sender"),
    [
        ("_INBOX.BX8Vh2Q0mXDVqzrT7KhW3p.ab12", "_INBOX.BX8Vh2Q0mXDVqzrT7KhW3p"),
        ("_INBOX_orchestrator.q7x2m9c4k1vd.r.7", "_INBOX_orchestrator.q7x2m9c4k1vd.r"),
        ("_INBOX.BX8Vh2Q0mXDVqzrT7KhW3p", "_INBOX.BX8Vh2Q0mXDVqzrT7KhW3p"),
        ("unread", "unread"),
    ],
)
def test_a_sender_is_its_inbox_and_never_what_all_inboxes_have_in_common(reply_to: str, sender: str) -> None:
    assert sender_of(reply_to) == sender
