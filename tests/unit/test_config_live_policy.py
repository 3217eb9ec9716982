"""The policy in force, and how it is swapped."""

from pathlib import Path
from typing import Any

import pytest

from services.runtime.config.errors import ConfigError
from services.runtime.config.policy import LivePolicy, Policy, difference


def policy(**servers: Any) -> Policy:
    return Policy.model_validate({"servers": servers})


def test_whoever_holds_the_policy_sees_what_is_in_force_now() -> None:
    live = LivePolicy.of_start(policy(a={"timeout_s": 1.0}, b={}))
    heard: list[set[str]] = []
    live.on_change(lambda: heard.append(set(live.servers)))
    live.replace(policy(a={"timeout_s": 2.0}, c={}))
    assert live.of("a").timeout_s == 2.0
    assert heard == [{"a", "c"}]


def test_a_server_is_removed_until_it_is_configured_again() -> None:
    live = LivePolicy.of_start(policy(a={}, b={}))
    assert live.removed == set()
    live.replace(policy(a={}))
    assert live.removed == {"b"}
    live.replace(policy())
    assert live.removed == {"a", "b"}
    live.replace(policy(b={}))
    assert live.removed == {"a"}


def test_the_policy_of_the_start_is_not_changed_by_a_swap() -> None:
    start = policy(a={})
    LivePolicy.of_start(start).replace(policy(b={}))
    assert start.servers.keys() == {"a"}


def test_a_difference_names_what_came_went_and_says_something_else() -> None:
    before, after = policy(a={}, b={}, c={}), policy(b={}, c={"priority": 1}, d={})
    assert difference(before, after) == (["d"], ["a"], ["c"])


def test_equal_policies_have_equal_digests_in_whichever_order_they_are_written() -> None:
    assert policy(a={}, b={"priority": 1}).digest() == policy(b={"priority": 1}, a={}).digest()
    assert policy(a={}).digest() != policy(a={"priority": 1}).digest()


@pytest.mark.parametrize("value", ["planted", "(it is planted)", "a\nb"])
def test_a_problem_leaves_the_machine_without_the_value(value: str) -> None:
    error = ConfigError(Path("/etc/busbar.yaml"), [f"servers.a.timeout_s: must be a number (it is {value!r})"])
    assert error.without_values() == ["servers.a.timeout_s: must be a number"]
