"""Catalogues and events: one digest for one catalogue, and only orders and events that we know."""

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus_schemas.control import DescribeWorker, DrainWorker, decode_order
from bus_schemas.workers import Catalogue, WorkerJoined, WorkerState, decode_worker_event

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(codec="utf-8"), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc$é", max_size=4), inner, max_size=4),
    max_leaves=12,
)
definitions = st.lists(st.dictionaries(st.text("abc$é", max_size=4), values, max_size=4), max_size=3)


def shuffled(value: Any, chance: random.Random) -> Any:
    """The same JSON value with the keys of every object in another order."""
    if isinstance(value, dict):
        names = list(value)
        chance.shuffle(names)
        return {name: shuffled(value[name], chance) for name in names}
    if isinstance(value, list):
        return [shuffled(inner, chance) for inner in value]
    return value


@given(definitions, definitions, st.randoms(use_true_random=False))
def test_the_order_of_keys_does_not_change_a_digest(
    tools: list[dict[str, Any]], prompts: list[dict[str, Any]], chance: random.Random
) -> None:
    one = Catalogue(tools=tools, prompts=prompts)
    other = Catalogue(tools=shuffled(tools, chance), prompts=shuffled(prompts, chance))
    assert one.digest() == other.digest()


@given(definitions)
def test_a_catalogue_keeps_its_digest_and_every_field_on_the_wire(tools: list[dict[str, Any]]) -> None:
    joined = WorkerJoined(
        server="a",
        version="1.0.0",
        instance="q7",
        state=WorkerState.SERVING,
        started_at=1.0,
        sent_at=2.0,
        offers=Catalogue(tools=tools),
    )
    read = decode_worker_event(joined.encode())
    assert isinstance(read, WorkerJoined)
    assert read.offers.tools == tools
    assert read.offers.digest() == joined.offers.digest()


def test_two_workers_of_one_catalogue_share_a_digest() -> None:
    tool = {"name": "t", "inputSchema": {"type": "object"}}
    assert Catalogue(tools=[tool]).digest() == Catalogue(tools=[dict(tool)]).digest()


@pytest.mark.parametrize(
    "other",
    [
        Catalogue(),
        Catalogue(tools=[{"name": "u"}]),
        Catalogue(prompts=[{"name": "t"}]),
        Catalogue(tools=[{"name": "t", "title": None}]),
        Catalogue(tools=[{"name": "t"}, {"name": "t"}]),
    ],
)
def test_another_catalogue_has_another_digest(other: Catalogue) -> None:
    assert Catalogue(tools=[{"name": "t"}]).digest() != other.digest()


def test_a_digest_is_the_same_in_every_release() -> None:
    digest = Catalogue(tools=[{"name": "é"}]).digest()
    assert digest == "10c6d46eb130e64212ac055a4abcba7a6b09421726f964635bc47d02fe27be0a"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b'{"event": "exploded"}',
        b'{"event": "left", "server": "a.b", "version": "1.0.0", "instance": "q7"}',
        b'{"event": "left", "server": "a", "version": "1", "instance": "q7"}',
        b'{"event": "left", "server": "a", "version": "1.0.0", "instance": "*"}',
    ],
)
def test_what_is_no_event_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="validation error"):
        decode_worker_event(data)


def test_an_order_is_known_by_its_name() -> None:
    assert decode_order(b'{"order": "describe", "why": "new"}') == DescribeWorker()
    assert decode_order(b'{"order": "drain"}') == DrainWorker()


@pytest.mark.parametrize("order", [{}, {"order": "explode"}, {"order": "DRAIN"}, [], None])
def test_what_is_no_order_is_refused(order: object) -> None:
    with pytest.raises(ValueError, match="validation error"):
        decode_order(json.dumps(order).encode())
