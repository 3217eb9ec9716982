"""The HTTP server: it listens, and it stops without resetting a connection that the kernel has accepted."""

import asyncio
import contextlib
import logging
import math
import socket
from collections.abc import Awaitable, Callable, Iterator
from functools import partial

import uvicorn
from starlette.types import ASGIApp

from services.runtime.lifecycle import Lifecycle
from services.runtime.plain_requests import DirectApp, PlainRequests

log = logging.getLogger(__name__)

KEEP_ALIVE_S = 80
_LINGER_S = 0.5
"""How long a connection that was taken last may take to send its request."""


class _Server(uvicorn.Server):
    """uvicorn, without its signal handlers: the lifecycle has its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def stop_listening(self, listener: socket.socket) -> None:
        """Take the connections that wait in the listening socket, and no more.

        Closing it resets them, although their callers see them as accepted and may have sent their requests.
        """
        waiting: list[socket.socket] = []
        with contextlib.suppress(BlockingIOError):
            while True:
                waiting.append(listener.accept()[0])
        for server in self.servers:
            server.close()
        for connection in waiting:
            connection.setblocking(False)
            await asyncio.get_running_loop().connect_accepted_socket(self._protocol, connection)

    def _protocol(self) -> asyncio.Protocol:
        return self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )


async def serve(
    app: ASGIApp, listener: socket.socket, life: Lifecycle, *, leave: Callable[[], Awaitable[None]], drain_s: float
) -> None:
    """Serve until the lifecycle stops; then leave, finish what was taken, and close.

    Args:
        app: the service.
        listener: a bound socket.
        life: says when to stop.
        leave: runs between the stop and the close. Meanwhile /readyz says 503 and every answer `Connection: close`,
            so that callers go elsewhere.
        drain_s: how long requests in flight may take after that, in seconds.
    """
    config = uvicorn.Config(
        app,
        http=partial(PlainRequests, app=app if isinstance(app, DirectApp) else None),  # type: ignore[arg-type]
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        lifespan="on",
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=math.ceil(drain_s),
        backlog=4096,
    )
    server = _Server(config)

    async def stop_in_order() -> None:
        await life.stopping.wait()
        try:
            await leave()
            await server.stop_listening(listener)
            await asyncio.sleep(_LINGER_S)
        finally:
            server.should_exit = True

    stopper = asyncio.create_task(stop_in_order(), name="http-stop")
    try:
        await server.serve(sockets=[listener])
    except SystemExit:  # uvicorn's way to say that the lifespan did not start
        life.stop(status=1)
    finally:
        stopper.cancel()
        await asyncio.wait([stopper])
        if not stopper.cancelled() and (failure := stopper.exception()) is not None:
            log.critical("the service could not leave in order", exc_info=failure)
            life.stop(status=1)
