"""Which servers may answer, in which order: the named one, its alternates, its group mates."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.orchestrator.routing import candidates_among, candidates_for
from services.runtime.config.policy import ServerPolicy
from services.runtime.errors import AmbiguousToolError, ForbiddenError, ServerNotFoundError

_NAMES = [f"s{number}" for number in range(6)]


def _everybody(_server: str) -> bool:
    return True


def _nobody(_server: str) -> bool:
    return False


def _candidates(server: str, policies: dict[str, ServerPolicy]) -> list[str]:
    return candidates_for(server, policies, is_announced=_nobody, may_use=_everybody)


def _policies(draw: st.DrawFn) -> dict[str, ServerPolicy]:
    return {
        name: ServerPolicy(
            priority=draw(st.sampled_from([1, 50, 100])),
            group=draw(st.sampled_from([None, "g", "h"])),
            alternates=tuple(draw(st.lists(st.sampled_from([n for n in _NAMES if n != name]), unique=True))),
        )
        for name in _NAMES
    }


policies_of_all = st.composite(_policies)()
some_servers = st.sets(st.sampled_from(_NAMES))


def test_the_named_server_comes_first_then_alternates_in_order_then_group_mates_by_priority_and_name() -> None:
    policies = {
        "a": ServerPolicy(group="g", alternates=("z", "y")),
        "b": ServerPolicy(group="g", priority=900),
        "c": ServerPolicy(group="g"),
        "d": ServerPolicy(group="g", priority=10),
        "e": ServerPolicy(group="other"),
        "f": ServerPolicy(group="g"),
        "y": ServerPolicy(),
        "z": ServerPolicy(),
    }
    assert _candidates("a", policies) == ["a", "z", "y", "d", "c", "f", "b"]


def test_alternates_of_alternates_and_mates_of_alternates_are_not_asked() -> None:
    policies = {
        "a": ServerPolicy(alternates=("b",)),
        "b": ServerPolicy(alternates=("c",), group="g"),
        "c": ServerPolicy(),
        "d": ServerPolicy(group="g"),
    }
    assert _candidates("a", policies) == ["a", "b"]


def test_servers_without_a_group_are_no_mates() -> None:
    assert _candidates("a", {"a": ServerPolicy(), "b": ServerPolicy()}) == ["a"]


def test_an_alternate_in_the_same_group_is_asked_once() -> None:
    policies = {"a": ServerPolicy(group="g", alternates=("b",)), "b": ServerPolicy(group="g")}
    assert _candidates("a", policies) == ["a", "b"]


def test_a_server_neither_configured_nor_announced_is_not_found() -> None:
    with pytest.raises(ServerNotFoundError):
        _candidates("x", {"a": ServerPolicy()})


def test_an_announced_server_needs_no_configuration() -> None:
    assert candidates_for("x", {}, is_announced=_everybody, may_use=_everybody) == ["x"]


def test_a_named_server_without_the_right_is_forbidden_whatever_its_alternates_allow() -> None:
    policies = {"a": ServerPolicy(alternates=("b",)), "b": ServerPolicy()}
    with pytest.raises(ForbiddenError):
        candidates_for("a", policies, is_announced=_nobody, may_use=lambda server: server == "b")


@given(policies_of_all, st.sampled_from(_NAMES), some_servers)
def test_candidates_are_the_named_and_each_allowed_alternate_and_mate_once(
    policies: dict[str, ServerPolicy], server: str, allowed: set[str]
) -> None:
    allowed |= {server}
    found = candidates_for(server, policies, is_announced=_nobody, may_use=lambda name: name in allowed)
    own = policies[server]
    mates = {name for name in _NAMES if own.group is not None and policies[name].group == own.group}
    assert found[0] == server
    assert len(found) == len(set(found))
    assert set(found) == ({server} | set(own.alternates) | mates) & allowed
    alternates = [name for name in own.alternates if name in allowed]
    assert found[1 : 1 + len(alternates)] == alternates
    rest = found[1 + len(alternates) :]
    assert rest == sorted(rest, key=lambda name: (policies[name].priority, name))


@given(policies_of_all, some_servers, some_servers)
def test_without_a_server_the_allowed_offerers_answer_if_they_are_one_server_or_one_group(
    policies: dict[str, ServerPolicy], offerers: set[str], allowed: set[str]
) -> None:
    offering = offerers & allowed
    groups = {policies[name].group for name in offering}
    related = len(offering) < 2 or (len(groups) == 1 and None not in groups)
    try:
        found = candidates_among(offerers, policies, may_use=lambda name: name in allowed)
    except AmbiguousToolError:
        assert not related
    else:
        assert related
        assert found == sorted(offering, key=lambda name: (policies[name].priority, name))
