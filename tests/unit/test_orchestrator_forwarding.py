"""Which of a caller's headers go on: the named ones, whole, or the query is refused."""

from collections.abc import Sequence

import pytest

from services.orchestrator.forwarding import MAX_FORWARDED_BYTES, HeaderValues, forwarded_headers, no_headers
from services.runtime.config.policy import ServerPolicy
from services.runtime.errors import InvalidRequestError

POLICY = ServerPolicy(forward_headers=("x-tenant", "x-user"))


def having(**headers: Sequence[str]) -> HeaderValues:
    """A caller's headers; `x_tenant` is `x-tenant`."""
    by_name = {name.replace("_", "-"): values for name, values in headers.items()}
    return lambda name: by_name.get(name, ())


def test_only_named_headers_are_looked_at() -> None:
    asked: list[str] = []

    def values(name: str) -> Sequence[str]:
        asked.append(name)
        return ["v"]

    assert forwarded_headers(ServerPolicy(), values) == {}
    assert asked == []
    assert forwarded_headers(POLICY, values) == {"x-tenant": "v", "x-user": "v"}
    assert asked == ["x-tenant", "x-user"]


def test_what_the_caller_did_not_send_is_not_there() -> None:
    assert forwarded_headers(POLICY, no_headers) == {}
    assert forwarded_headers(POLICY, having(x_user=[""])) == {"x-user": ""}


def test_what_came_twice_is_one_list_so_that_no_value_hides_another() -> None:
    assert forwarded_headers(POLICY, having(x_tenant=["mine", " the proxys\t"])) == {"x-tenant": "mine, the proxys"}


@pytest.mark.parametrize("value", ["\u00e9", "a\nb", "a\rb", "\0", "\x7f"])
def test_a_value_that_is_not_visible_ascii_is_refused_by_the_headers_name(value: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        forwarded_headers(POLICY, having(x_user=[value]))
    [error] = caught.value.errors
    assert (error.pointer, error.keyword) == ("/headers/x-user", "pattern")
    assert forwarded_headers(ServerPolicy(), having(x_user=[value])) == {}


def test_headers_are_refused_when_they_are_too_long_together() -> None:
    room = MAX_FORWARDED_BYTES - len("x-tenant") - len("x-user")
    fits = having(x_tenant=["t" * (room - 100)], x_user=["u" * 100])
    assert sum(map(len, forwarded_headers(POLICY, fits).values())) == room
    with pytest.raises(InvalidRequestError) as caught:
        forwarded_headers(POLICY, having(x_tenant=["t" * (room - 100)], x_user=["u" * 101]))
    assert caught.value.errors[0].keyword == "maxLength"
