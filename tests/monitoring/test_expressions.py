"""The names of metrics in PromQL."""

import pytest

from tests.monitoring.expressions import metric_names


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("up", {"up"}),
        ('sum by (server, le) (rate(a_bucket{server="up", le="x{y}"}[$__rate_interval]))', {"a_bucket"}),
        ("1 - sum_over_time(a:b:rate1m[30d]) / 14.4 * 0.001 > 1e9", {"a:b:rate1m"}),
        ("a > on () b unless max by (x) (c) == 1 or absent(d)", {"a", "b", "c", "d"}),
        ("histogram_quantile(0.95, a) > bool 2 and b offset 5m", {"a", "b"}),
        ("a:ratio_30m < 0.5 * b:ratio_6h and avg_over_time(c[30m]) > 0.1", {"a:ratio_30m", "b:ratio_6h", "c"}),
        ("vector(16 * 1024 ^ 3)", set()),
    ],
)
def test_the_metrics_are_what_is_neither_function_nor_label_nor_number(expression: str, names: set[str]) -> None:
    assert metric_names(expression) == names
