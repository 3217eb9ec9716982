"""What operators do to a deployment, and what happens to it, costs no caller an answer: the short form."""

from pathlib import Path

import pytest

from tests.containers import rolling

pytestmark = pytest.mark.anyio


async def test_a_deployment_is_scaled_rolled_and_broken_under_load_and_loses_nothing(tmp_path: Path) -> None:
    """A hundredth may be refused, clearly: the machine may be busy. `make bench-containers` allows a thousandth."""
    outcome = await rolling.run(
        tmp_path, rate=10, pause_s=2, step_s=4, restarted=("orchestrator", rolling.OLD, "nats-1")
    )
    assert outcome.wrong(goal=0.99) == [], "\n".join(outcome.rows)
