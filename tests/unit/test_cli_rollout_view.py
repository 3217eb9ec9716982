"""How a rollout is shown, and what the commands' words become."""

from collections.abc import Iterator
from typing import Any

import pytest
import typer
from pydantic import ValidationError
from rich.console import Console

from services.admin.rollouts.rollout import RolloutOrder
from services.cli import rollout_view
from services.cli.location import Endpoint
from services.cli.rollout_view import line, screen, told, version_rows, watch
from services.cli.rollouts import Observed, Rollout, rollout_order

ADMIN = Endpoint("admin service", ["http://127.0.0.1:1"])


def _first(count: int) -> str:
    return ",".join(map(str, range(1, count + 1)))


def rollout(**more: Any) -> Rollout:
    known: dict[str, Any] = {
        "id": "01K",
        "server": "products",
        "from_version": "1.0.0",
        "to_version": "1.1.0",
        "state": "running",
        "weight": 10,
        "step": 1,
        "observed": {"1.1.0": Observed(requests=120, errors=1, p95_ms=3.14)},
    }
    return Rollout.model_validate({**known, **more})


def test_a_line_tells_what_goes_where_how_far_and_why() -> None:
    assert line(rollout()) == "products 1.0.0 → 1.1.0 running, step 1, 10 % on 1.1.0"
    assert line(rollout(state="rolled_back", weight=0, reason="3 errors\x1b[31m more")) == (
        "products 1.0.0 → 1.1.0 rolled back, step 1, 0 % on 1.1.0: 3 errors more"
    )


def test_both_versions_have_a_row_also_where_nothing_was_counted() -> None:
    assert version_rows(rollout()) == [
        ("1.0.0", "90 %", "", "", ""),
        ("1.1.0", "10 %", "120", "1", "3.1 ms"),
    ]


def test_the_screen_holds_no_markup_of_a_reason() -> None:
    console = Console(width=100, record=True, file=None)
    with console.capture() as capture:
        console.print(screen(rollout(reason="[red]x[/red]")))
    assert "[red]x[/red]" in capture.get()


def test_only_a_version_that_has_taken_over_is_a_success(capsys: pytest.CaptureFixture[str]) -> None:
    assert told(rollout(state="completed")) == 0
    assert capsys.readouterr().err == ""
    assert told(rollout(state="rolled_back", reason="it was slower")) == 1
    assert capsys.readouterr().err == "products 1.0.0 → 1.1.0: rolled back: it was slower\n"


def test_a_pipe_gets_a_line_for_each_change(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = [rollout(), rollout(), rollout(step=2, weight=50), rollout(step=2, weight=100, state="completed")]
    monkeypatch.setattr(rollout_view, "follow", lambda *_: iter(steps))
    assert watch(ADMIN, steps[0], as_json=False) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [text.partition(" ")[2] for text in lines] == [line(steps[0]), line(steps[2]), line(steps[3])]


def test_a_ctrl_c_ends_the_showing_alone_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> Iterator[Rollout]:
        yield rollout()
        raise KeyboardInterrupt

    monkeypatch.setattr(rollout_view, "follow", interrupted)
    assert watch(ADMIN, rollout(), as_json=False) == 1
    assert "goes on; see `busbar rollout show 01K --watch`" in capsys.readouterr().err


def test_steps_are_whole_numbers_with_commas_between() -> None:
    rest: dict[str, Any] = {
        "step_s": 1, "max_error_rate": 0, "max_p95_ratio": 1, "min_requests": 0, "require_traffic": False
    }  # fmt: skip
    assert rollout_order("a", "1.0.0", steps="10, 50,100", **rest)["steps"] == [10, 50, 100]
    with pytest.raises(typer.BadParameter):
        rollout_order("a", "1.0.0", steps="10;50", **rest)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("steps", ["", "0", "50,10", "10,10", "101", "1", "100", _first(20), _first(21)]),
        ("step_s", [0.0, 0.09, 0.1, 86400.0, 86401.0, float("nan"), float("inf")]),
        ("max_error_rate", [-0.1, 0.0, 1.0, 1.1, float("nan")]),
        ("max_p95_ratio", [0.5, 1.0, 1000.0, 1001.0, float("nan")]),
        ("min_requests", [-1, 0, 1_000_000, 1_000_001]),
    ],
)
def test_an_option_is_wrong_exactly_where_the_admin_service_would_refuse_it(name: str, values: list[Any]) -> None:
    good: dict[str, Any] = {
        "steps": "10,50", "step_s": 1.0, "max_error_rate": 0.0, "max_p95_ratio": 1.0, "min_requests": 0
    }  # fmt: skip
    for value in values:
        given = {**good, name: value}
        sent = {**given, "steps": [int(step) for step in given["steps"].split(",") if step]}
        try:
            RolloutOrder.model_validate({"server": "a", "to_version": "1.0.0", **sent})
        except ValidationError:
            with pytest.raises(typer.BadParameter):
                rollout_order("a", "1.0.0", require_traffic=False, **given)
        else:
            assert rollout_order("a", "1.0.0", require_traffic=False, **given)["steps"] == sent["steps"]
