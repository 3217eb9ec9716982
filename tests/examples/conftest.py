"""What the tests of the examples share."""

from pathlib import Path

import pytest

from examples.database_mcp.storage import ensure_database


@pytest.fixture
def anyio_backend() -> str:
    """The event loop the servers run on."""
    return "asyncio"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A fresh sales database."""
    path = tmp_path / "sales.db"
    ensure_database(path)
    return path
