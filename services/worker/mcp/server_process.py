"""The process of a server that we start ourselves."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Never
from urllib.parse import urlsplit

from bus_schemas.workers import ServerFault
from services.runtime.config.connections import Connection
from services.runtime.processes import GuardedProcess, ProcessStartError, child_environment, guarded_process
from services.runtime.racing import first_result
from services.worker.mcp.session import OpenError

log = logging.getLogger(__name__)

START_LIMIT_S: Final = 60.0
"""How long a process of ours may take until it listens: `npx` may have to download it first."""

_LISTEN_POLL_S: Final = 0.05


@asynccontextmanager
async def server_process(
    connection: Connection, log_path: Path | None, *, pipes: bool
) -> AsyncIterator[GuardedProcess]:
    """Run the connection's command for as long as the context is open.

    Raises:
        OpenError: it could not be started.
    """
    environment = child_environment(connection.env)
    try:
        async with guarded_process(
            connection.command, cwd=connection.cwd, env=environment, pipes=pipes, log_path=log_path
        ) as process:
            yield process
    except ProcessStartError as error:
        log.warning("the server's process cannot be started", extra={"cause": str(error)})
        raise OpenError(ServerFault.PROCESS_EXITED) from error


async def until_listening(process: GuardedProcess, url: str) -> None:
    """Wait until somebody takes connections where the process is expected to.

    Raises:
        OpenError: the process ends first, or takes too long.
    """
    parts = urlsplit(url)
    port = parts.port or {"https": 443}.get(parts.scheme, 80)

    async def exited() -> Never:
        await process.wait()
        raise OpenError(ServerFault.PROCESS_EXITED)

    async def connected() -> None:
        while True:
            try:
                _, writer = await asyncio.open_connection(parts.hostname, port)
            except OSError:
                await asyncio.sleep(_LISTEN_POLL_S)
            else:
                writer.close()
                return

    try:
        async with asyncio.timeout(START_LIMIT_S):
            await first_result(exited(), connected())
    except TimeoutError:
        raise OpenError(ServerFault.CONNECTION_REFUSED) from None
