"""Busbar beside other gateways: `python -m tests.bench.peers`, after `make peers` (needs wrk, a Debian package).

One echo server of the official SDK over HTTP, and the same over stdio for what speaks only that, asked directly,
through Busbar and through each peer, in turns. Every process runs from the beginning to the end, and is idle while it
is not asked. What is not installed or does not start is named with its reason.
"""

import argparse
import os
import platform
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

import anyio
import httpx

from tests.bench.peers import busbar
from tests.bench.peers.every import PEERS
from tests.bench.peers.measuring import measure
from tests.bench.peers.peer import Peer, Upstream
from tests.bench.peers.picture import draw
from tests.bench.peers.program import NotInstalledError, installed_version
from tests.bench.peers.report import Report, as_json, as_markdown
from tests.bench.peers.rightness import WrongAnswerError, check
from tests.bench.ways import Way, http_server
from tests.bench.wrk import has_wrk
from tests.support.processes import REPOSITORY, ProcessDiedError

PICTURE: Final = REPOSITORY / "docs" / "img" / "peers.png"
_FAILURES: Final = (
    NotInstalledError,
    ProcessDiedError,
    WrongAnswerError,
    TimeoutError,
    LookupError,
    AssertionError,
    httpx.HTTPError,
)
"""Why a peer may not be measured; the others are measured all the same."""
_CERTIFICATES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR")
"""Where a machine sets them, TLS contexts of httpx are dearer than elsewhere: some peers make one for each call."""


async def run(options: argparse.Namespace) -> Report:
    """Start everything, and measure."""
    began = datetime.now(UTC).isoformat(timespec="minutes")
    ways: list[Way] = []
    versions: dict[str, str] = {}
    absent: dict[str, str] = {}
    async with AsyncExitStack() as stack:
        url, server = await stack.enter_async_context(http_server())
        upstream = Upstream(url, server.pid)
        ways += await stack.enter_async_context(busbar.opened(upstream))
        for way in ways:
            await check(way)
        for peer in _chosen(options.only):
            try:
                ways += await _joined(stack, peer, upstream)
                versions[peer.package] = installed_version(peer.name, peer.package)
            except _FAILURES as error:
                absent[peer.package] = f"{type(error).__name__}: {error}"
        levels = await measure(ways, options.callers, rounds=options.rounds, seconds=options.seconds)
    names = [way.name for way in ways]
    return Report(began, _machine(), options.rounds, options.seconds, versions, absent, names, levels)


async def _joined(stack: AsyncExitStack, peer: Peer, upstream: Upstream) -> list[Way]:
    """Start a peer that runs until `stack` is left; one that gives no right answer is stopped at once."""
    sys.stderr.write(f"starting {peer.name}\n")
    async with AsyncExitStack() as trial:
        ways = await trial.enter_async_context(peer.opened(upstream))
        for way in ways:
            await check(way)
        stack.push_async_exit(trial.pop_all())
    return ways


def _chosen(names: Sequence[str]) -> list[Peer]:
    return [peer for peer in PEERS if not names or peer.name in names]


def _machine() -> str:
    return f"{os.cpu_count()} cores, Python {platform.python_version()}"


def _leave(_number: int, _frame: FrameType | None) -> NoReturn:
    """End in order: a dozen servers would otherwise go on without us."""
    sys.exit(128 + signal.SIGTERM)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.peers", description="Busbar beside other gateways.")
    parser.add_argument("--callers", type=int, nargs="+", default=[1, 32, 128])
    parser.add_argument("--seconds", type=float, default=5.0, help="of each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=[], choices=[peer.name for peer in PEERS], help="these peers")
    parser.add_argument("--json", type=Path, help="write every round there")
    parser.add_argument("--picture", type=Path, default=PICTURE)
    options = parser.parse_args()
    if not has_wrk():
        sys.stderr.write("there is no wrk here: apt-get install wrk\n")
        return 1
    signal.signal(signal.SIGTERM, _leave)
    for name in _CERTIFICATES:
        os.environ.pop(name, None)
    report = anyio.run(run, options)
    print(as_markdown(report))
    if options.json is not None:
        options.json.write_text(as_json(report))
    draw(report, options.picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())
