"""The rules and the cases of `promtool test rules`, as they stand in the files."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from tests.support.processes import REPOSITORY

MONITORING = REPOSITORY / "monitoring"
RULE_FILES = sorted((MONITORING / "rules").glob("*.yml"))
CASE_FILES = sorted((MONITORING / "rule_tests").glob("*.yml"))


@dataclass(frozen=True, slots=True)
class Course:
    """How an alert fares in one case, one moment after another."""

    alert: str
    case: str
    fires: tuple[bool, ...]

    @property
    def is_quiet(self) -> bool:
        return not any(self.fires)

    @property
    def resolves(self) -> bool:
        return any(before and not after for before, after in zip(self.fires, self.fires[1:], strict=False))


def rules() -> Iterator[dict[str, Any]]:
    """Every rule, recordings and alerts."""
    for path in RULE_FILES:
        for group in yaml.safe_load(path.read_text())["groups"]:
            yield from group["rules"]


def alerts() -> dict[str, dict[str, Any]]:
    """The alerts by name."""
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def courses() -> Iterator[Course]:
    """How each alert fares in each case that looks at it."""
    for path in CASE_FILES:
        for case in yaml.safe_load(path.read_text())["tests"]:
            seen: dict[str, list[bool]] = defaultdict(list)
            # promtool looks at the moments in the order in which they stand in the file.
            for look in case.get("alert_rule_test", ()):
                seen[look["alertname"]].append(bool(look.get("exp_alerts")))
            for alert, fires in seen.items():
                yield Course(alert, f"{path.name}: {case['name']}", tuple(fires))
