"""The request states that a server has given out of late."""

import json

from bus_schemas.digests import state_digest
from services.worker.states import KEPT_S, GivenStates


def unfinished(state: str) -> bytes:
    return json.dumps({"resultType": "input_required", "inputRequests": {}, "requestState": state}).encode()


def test_a_state_is_held_for_ten_minutes() -> None:
    now = 0.0
    states = GivenStates(clock=lambda: now)
    states.note(unfinished("s"))
    assert states.holds(state_digest("s"))
    assert not states.holds(state_digest("other"))
    now = KEPT_S
    assert not states.holds(state_digest("s"))


def test_of_too_many_the_one_given_out_longest_ago_is_forgotten() -> None:
    states = GivenStates(clock=lambda: 0.0, most=2)
    for state in ("a", "b", "a", "c"):
        states.note(unfinished(state))
    assert [states.holds(state_digest(state)) for state in "abc"] == [True, False, True]


def test_a_state_is_found_in_a_deep_result() -> None:
    states = GivenStates(clock=lambda: 0.0)
    states.note(b'{"inputRequests":' + b"[" * 5000 + b"]" * 5000 + b"," + unfinished("s")[1:])
    assert states.holds(state_digest("s"))


def test_what_only_looks_like_an_unfinished_result_gives_out_no_state() -> None:
    states = GivenStates(clock=lambda: 0.0)
    for result in (
        b'{"resultType":"complete","requestState":"s","text":"input_required"}',
        b'{"resultType":"input_required"}',
        b'{"resultType":"input_required","requestState":7}',
        b'{"content":[{"text":"input_required"}]}',
        b'{"resultType":"input_required","requestState":' + b"[" * 5000 + b"]" * 5000 + b"}",
    ):
        states.note(result)
    assert not states.holds(state_digest("s"))
