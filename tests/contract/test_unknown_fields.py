"""Readers ignore fields that they do not know, whatever they are called and hold, at every level of a message."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from bus_schemas.envelope import FORWARD_PREFIX
from bus_schemas.header_schemas import HEADERS
from tests.contract.test_golden_messages import SAMPLES, TOLERANT, golden

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
).filter(lambda value: value not in (float("inf"), float("-inf")))
PRINTABLE = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=":"), min_size=1)


def models(value: Any, document: Any) -> Iterator[tuple[BaseModel, dict[str, Any]]]:
    """Yield each model in `value`, with the part of the JSON document that holds it."""
    if isinstance(value, BaseModel):
        yield value, document
        for name in type(value).model_fields:
            yield from models(getattr(value, name), document.get(name))
    elif isinstance(value, list):
        for one, part in zip(value, document or [], strict=False):
            yield from models(one, part)


@pytest.mark.parametrize("name", [name for name in TOLERANT if not name.endswith("_headers")])
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_fields_that_a_reader_does_not_know_are_ignored_at_every_level(name: str, data: st.DataObject) -> None:
    """Seen to fail with `extra="forbid"` for the catalogue inside of an announcement."""
    value, decode = SAMPLES[name]
    document = copy.deepcopy(golden(name)["full"])
    for model, part in list(models(value, document)):
        added = data.draw(st.dictionaries(st.text(), VALUES, max_size=3))
        part.update({field: held for field, held in added.items() if field not in type(model).model_fields})
    assert decode(document) == value


@pytest.mark.parametrize("name", [name for name in TOLERANT if name.endswith("_headers")])
@settings(max_examples=25, deadline=None)
@given(
    added=st.dictionaries(
        PRINTABLE.filter(lambda header: header not in HEADERS and not header.startswith(FORWARD_PREFIX)), PRINTABLE
    )
)
def test_headers_that_a_reader_does_not_know_are_ignored(name: str, added: dict[str, str]) -> None:
    value, decode = SAMPLES[name]
    assert decode({**golden(name)["full"], **added}) == value
