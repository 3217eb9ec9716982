"""docs/guarantees.md and the tests say the same: each names what the other has."""

import ast
import re

import pytest

from tests.chaos import suite
from tests.support.processes import REPOSITORY

GUARANTEES = (REPOSITORY / "docs" / "guarantees.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", GUARANTEES)))


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_every_test_that_the_guarantees_name_exists(path: str, name: str) -> None:
    """Seen to fail with a letter of a name left out."""
    module = ast.parse((REPOSITORY / path).read_text(encoding="utf-8"))
    functions = {node.name for node in module.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert name in functions


def test_every_row_of_the_chaos_suite_is_a_guarantee_and_there_is_no_other() -> None:
    """Seen to fail with a row left out of the table."""
    _, _, rows = GUARANTEES.partition("## The rows")
    rows, _, _ = rows.partition("## Figures")
    assert re.findall(r"^\| `([\w-]+)` \|", rows, re.MULTILINE) == [fault.name for fault in suite.FAULTS]
