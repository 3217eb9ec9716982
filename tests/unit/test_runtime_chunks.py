"""A large result is cut and put together again without a changed byte, or not at all."""

import dataclasses
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus_schemas.calls import ResultHeaders
from bus_schemas.queries import MAX_RESULT_BYTES
from services.runtime.bus.chunks import CHUNK_BYTES, Assembly, DamagedError, cut

TOLD = ResultHeaders(instance="a", upstream_us=1, queue_us=2)


@given(size=st.integers(1, 3 * CHUNK_BYTES), shuffled=st.randoms(use_true_random=False))
def test_parts_in_any_order_and_twice_make_the_result(size: int, shuffled: random.Random) -> None:
    result = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    parts = list(cut(result, TOLD))
    parts += parts[:1]
    shuffled.shuffle(parts)
    assembly = Assembly()

    made = [whole for headers, part in parts if (whole := assembly.add(headers, part)) is not None]

    assert made
    assert all(whole == result for whole in made)
    assert max(len(part) for _, part in parts) <= CHUNK_BYTES


def test_a_changed_byte_is_found() -> None:
    (headers, part), *rest = cut(b"x" * (CHUNK_BYTES + 1), TOLD)
    assembly = Assembly()
    assembly.add(headers, b"y" + part[1:])

    with pytest.raises(DamagedError):
        assembly.add(*rest[0])


def test_more_bytes_than_a_result_can_have_are_refused() -> None:
    headers, _ = next(cut(b"x", TOLD))
    many = dataclasses.replace(headers, chunks=3)
    assembly = Assembly()
    assembly.add(many, b"x" * MAX_RESULT_BYTES)

    with pytest.raises(DamagedError):
        assembly.add(dataclasses.replace(many, chunk=2), b"x")


@pytest.mark.parametrize("chunk", [0, 3])
def test_a_part_outside_the_count_is_refused(chunk: int) -> None:
    headers, _ = next(cut(b"x", TOLD))

    with pytest.raises(DamagedError):
        Assembly().add(dataclasses.replace(headers, chunk=chunk, chunks=2), b"x")
