"""The programs of peers: where they are installed, how they are started, when they are ready."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import distributions
from pathlib import Path
from typing import Final

import anyio
import httpx

from tests.bench.components import child
from tests.bench.peers.peer import STDIO_COMMAND
from tests.support.processes import REPOSITORY, ProcessDiedError, RunningProcess, running

INSTALLED: Final = REPOSITORY / ".peers"
START_S: Final = 120.0
"""How long the slowest may take until it listens."""
LOOPBACK: Final = REPOSITORY / "tests" / "strangers" / "loopback.cjs"

_POLL_S: Final = 0.1


class NotInstalledError(Exception):
    """The peer is not in `.peers`. Its text says why, as far as its installer told."""


def python_program(peer: str, name: str) -> list[str]:
    """Return how a program is started that the peer's Python packages brought.

    Raises:
        NotInstalledError: they are not there.
    """
    return [str(_program(peer, Path("bin", name)))]


def node_program(peer: str, name: str) -> list[str]:
    """As `python_program()`, of npm packages; the program listens on 127.0.0.1 alone."""
    return ["node", "--require", str(LOOPBACK), str(_program(peer, Path("node_modules", ".bin", name)))]


def installed_version(peer: str, package: str) -> str:
    """Return the version of a package that the peer's folder holds.

    Raises:
        LookupError: it holds none.
    """
    manifest = INSTALLED / peer / "node_modules" / package / "package.json"
    if manifest.exists():
        return str(json.loads(manifest.read_text())["version"])
    for folder in (INSTALLED / peer).glob("lib/python*/site-packages"):
        for found in distributions(name=package, path=[str(folder)]):
            return found.version
    raise LookupError(f"no {package} in {INSTALLED / peer}")


@asynccontextmanager
async def listening(
    argv: Sequence[str], port: int, *, env: Mapping[str, str] | None = None, path: str = "/"
) -> AsyncIterator[RunningProcess]:
    """Run a peer in the folder of the repository; entered when it answers at `port`, whatever it answers.

    Raises:
        ProcessDiedError: it ended first.
        TimeoutError: it did not within `START_S`.
    """
    url = f"http://127.0.0.1:{port}{path}"
    async with running(argv, env=env) as process, httpx.AsyncClient(timeout=START_S, trust_env=False) as client:
        with anyio.fail_after(START_S):
            while not await _answers(client, url):
                if process.returncode is not None:
                    raise ProcessDiedError(
                        f"status {process.returncode}: {_last_line(process.stdout() + process.stderr())}"
                    )
                await anyio.sleep(_POLL_S)
        yield process


def stdio_server(of: RunningProcess) -> int:
    """Return the process id of the MCP server that a peer has started.

    Raises:
        LookupError: it has started none.
    """
    return child(of.pid, STDIO_COMMAND)


def _program(peer: str, path: Path) -> Path:
    folder = INSTALLED / peer
    if not (folder / ".installed").exists():
        log = folder / "install.log"
        raise NotInstalledError(_last_line(log.read_text()) if log.exists() else "`make peers` has not been run")
    return folder / path


async def _answers(client: httpx.AsyncClient, url: str) -> bool:
    try:
        await client.get(url)
    except httpx.TransportError:
        return False
    return True


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "it said nothing"
