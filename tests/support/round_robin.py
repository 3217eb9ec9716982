"""A load balancer for tests: each request goes to the next target, whatever connection it came over."""

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from itertools import cycle

import aiohttp
from aiohttp import web

from tests.support.ports import free_port

_OF_ONE_HOP = frozenset({"connection", "content-length", "host", "keep-alive", "transfer-encoding"})


class RoundRobin:
    """Where it listens, and who got how many requests."""

    def __init__(self, url: str) -> None:
        """Begin with no requests."""
        self.url = url
        self.requests: Counter[str] = Counter()


@asynccontextmanager
async def round_robin(targets: Sequence[str]) -> AsyncIterator[RoundRobin]:
    """Balance over `targets`, the URLs of servers without a path. Bodies of responses go through as they come."""
    port = free_port()
    balancer = RoundRobin(f"http://127.0.0.1:{port}")
    turns = cycle(targets)
    client = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None), auto_decompress=False)

    async def forward(request: web.Request) -> web.StreamResponse:
        target = next(turns)
        balancer.requests[target] += 1
        async with client.request(
            request.method,
            target + request.path_qs,
            data=await request.read(),
            headers=_passed_on(request.headers.items()),
            allow_redirects=False,
        ) as answer:
            response = web.StreamResponse(status=answer.status, headers=_passed_on(answer.headers.items()))
            await response.prepare(request)
            async for part in answer.content.iter_any():
                await response.write(part)
            return response

    app = web.Application(client_max_size=2**24)
    app.router.add_route("*", "/{path:.*}", forward)
    # A caller that goes away takes its request to the target with it.
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    async with client:
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", port).start()
            yield balancer
        finally:
            await runner.cleanup()


def _passed_on(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in headers if name.lower() not in _OF_ONE_HOP]
