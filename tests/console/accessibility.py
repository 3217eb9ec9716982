"""What axe-core finds wrong with a page as it stands."""

from importlib import resources
from typing import Any, Final

from playwright.async_api import Page

_TAGS: Final = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
_RUN: Final = """
tags => axe.run({runOnly: {type: "tag", values: tags}, resultTypes: ["violations"], preload: false})
"""


async def find_faults(page: Page) -> list[str]:
    """Return what it finds, of whatever weight, in words for whoever has to mend it."""
    await page.evaluate(_script())  # not a script element, which the page's policy would not let in
    found: dict[str, Any] = await page.evaluate(_RUN, _TAGS)
    return [
        f"{violation['impact']}: {violation['id']} at {' '.join(map(str, node['target']))}: {node['failureSummary']}"
        for violation in found["violations"]
        for node in violation["nodes"]
    ]


def _script() -> str:
    return (resources.files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
