"""The lean server over HTTP, and the way to it through Busbar."""

from contextlib import AbstractAsyncContextManager
from typing import Final

from tests.bench.components import Components
from tests.bench.ways import REQUEST_ID, Way, http_server, query
from tests.support.fleet import Fleet
from tests.support.processes import RunningProcess

NAME: Final = "lean"
"""Of the server in the configuration."""


def lean_server() -> AbstractAsyncContextManager[tuple[str, RunningProcess]]:
    """Start it; yields its URL and its process."""
    return http_server("tests.bench.capacity.lean_server")


def lean_way(running: Fleet, parts: Components, *, orchestrator: int = 0) -> Way:
    """Return the way of queries that it answers at once, each with a number that it does not look at."""
    arguments = {"ms": 0, "number": REQUEST_ID}
    return query(running, NAME, parts, orchestrator=orchestrator, tool="answer", arguments=arguments)
