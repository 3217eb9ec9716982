"""What the start of a process does not import."""

import subprocess
import sys

import pytest

from services.runtime.left_out import left_out


def test_inside_it_seems_not_to_be_installed_and_afterwards_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "this", raising=False)
    with left_out("this"), pytest.raises(ImportError):
        __import__("this")
    assert "this" not in sys.modules


def test_what_is_imported_already_stays() -> None:
    with left_out("subprocess"):
        assert __import__("subprocess") is subprocess
    assert sys.modules["subprocess"] is subprocess


@pytest.mark.parametrize(
    ("service", "seldom"),
    [
        ("orchestrator", ["aiohttp", "httpx", "opentelemetry.sdk.metrics", "rich"]),
        ("worker", ["aiohttp", "fastapi", "httpx", "redis", "uvicorn"]),
    ],
)
def test_a_service_starts_without_what_it_seldom_needs(service: str, seldom: list[str]) -> None:
    code = f"import services.{service}.__main__, sys; print(*set({seldom!r}) & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"\n"
