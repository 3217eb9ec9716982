"""Of a caller's trace headers only well-formed ones go on."""

import pytest

from services.orchestrator.tracing import trace_context

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def read(parent: str | list[str], *state: str) -> tuple[str | None, str | None]:
    headers = {"traceparent": [parent] if isinstance(parent, str) else parent, "tracestate": list(state)}
    return trace_context(lambda name: headers[name])


@pytest.mark.parametrize("parent", [PARENT, PARENT.replace("00-", "01-", 1), PARENT[:-2] + "ff"])
def test_a_well_formed_traceparent_goes_on(parent: str) -> None:
    assert read(parent) == (parent, None)


@pytest.mark.parametrize(
    "parent",
    [
        *("", "nonsense", PARENT + "-x", PARENT + "\n", " " + PARENT, PARENT.upper(), PARENT.replace("00-", "ff-", 1)),
        *(PARENT.replace("0af7651916cd43dd8448eb211c80319c", "0" * 32), PARENT.replace("b7ad6b7169203331", "0" * 16)),
        *(PARENT[:-1], PARENT.replace("0af", "0ag"), PARENT.replace("0af", "٠af"), "0" * 50_000),
        *([], [PARENT, PARENT]),
    ],
)
def test_a_malformed_one_goes_nowhere_nor_does_what_belongs_to_it(parent: str | list[str]) -> None:
    assert read(parent, "a=1") == (None, None)


@pytest.mark.parametrize(
    "state",
    [
        *("a=1", "vendor=opaque value!", "a=1,b=2", "a=1 ,\tb=2", "tenant@vendor=x", "0a/b*c_d-e=~", "a=1,,b=2"),
        ",".join(f"k{index}=v" for index in range(32)),
        "a=" + "v" * 256,
    ],
)
def test_a_well_formed_tracestate_goes_on_as_it_is(state: str) -> None:
    assert read(PARENT, state) == (PARENT, state)


def test_a_tracestate_in_two_headers_is_one_list() -> None:
    assert read(PARENT, "a=1", "b=2") == (PARENT, "a=1,b=2")


@pytest.mark.parametrize(
    "state",
    [
        *("", ",", "a", "a=", "=1", "A=1", "a=1=2", "a=1;b", "é=1", "a=é", "a=1,b", "a=\x00", "a=1\r\nb: c", "@v=1"),
        ",".join(f"k{index}=v" for index in range(33)),
        "a=" + "v" * 257,
        ",".join(f"k{index}={'v' * 100}" for index in range(6)),
    ],
)
def test_a_malformed_tracestate_is_dropped_alone(state: str) -> None:
    expected = None if state != "a=1;b" else state
    assert read(PARENT, state) == (PARENT, expected)
