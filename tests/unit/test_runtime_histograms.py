"""A histogram of ours reads like one of prometheus_client, whatever it has counted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client import Histogram as Reference
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from services.runtime.histograms import Histogram
from services.runtime.metrics import expose

BUCKETS = (0.01, 0.5, 1.0, 30.0)
OPENMETRICS = "application/openmetrics-text"


def read(registry: CollectorRegistry, accept: str) -> tuple[str, list[str]]:
    """What the family says of itself, and its lines; their order is not fixed."""
    text, _ = expose(registry, accept)
    said, _, lines = text.decode().partition("histogram\n")
    return said, sorted(
        ",".join(sorted(line.strip("}").split(","))) for line in lines.splitlines() if "_created" not in line
    )


@pytest.mark.parametrize("accept", ["text/plain", OPENMETRICS])
@given(
    observed=st.lists(
        st.tuples(st.sampled_from(["a", 'b"\n']), st.sampled_from(BUCKETS) | st.floats(0, 100, width=16)), max_size=20
    )
)
def test_its_text_is_the_references(accept: str, observed: list[tuple[str, float]]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    one = Histogram("x_seconds", "What.", ["server"], registry=ours, buckets=BUCKETS)
    other = Reference("x_seconds", "What.", ["server"], registry=theirs, buckets=BUCKETS)
    for server, value in observed:
        one.of(server).observe(value)
        other.labels(server).observe(value)
    assert read(ours, accept) == read(theirs, accept)


def test_the_latest_trace_of_a_bucket_is_its_exemplar() -> None:
    registry = CollectorRegistry()
    counted = Histogram("x_seconds", "What.", registry=registry, buckets=BUCKETS).of()
    counted.observe(0.2, "older")
    counted.observe(0.3, "newer")
    counted.observe(0.3)
    text = expose(registry, OPENMETRICS)[0].decode()
    (family,) = text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
    exemplars = {
        sample.labels["le"]: (sample.exemplar.labels, sample.exemplar.value)
        for sample in family.samples
        if sample.exemplar
    }
    assert exemplars == {"0.5": ({"trace_id": "newer"}, 0.3)}


def test_a_name_is_taken_once() -> None:
    registry = CollectorRegistry()
    Histogram("x_seconds", "What.", registry=registry)
    with pytest.raises(ValueError, match="Duplicated"):
        Histogram("x_seconds", "What.", registry=registry)
