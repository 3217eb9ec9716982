"""The HTTP side of a query: what is told to a caller whose body does not come."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, cast

import anyio
import pytest

from services.orchestrator import api, intake
from services.orchestrator.lists import Lists
from services.orchestrator.state import OrchestratorState
from services.runtime.auth.principals import ANONYMOUS, Principal
from services.runtime.http import create_service
from services.runtime.http_settings import Names
from services.runtime.lifecycle import Lifecycle
from services.runtime.listening import bind
from services.runtime.serving import serve
from tests.unit.test_orchestrator_query import Gateway

pytestmark = pytest.mark.anyio

HEAD = b"POST /v1/query HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"


async def anybody(_authorization: str | None, _header_names: Iterable[str]) -> Principal:
    return ANONYMOUS


@asynccontextmanager
async def serving(gateway: Gateway) -> AsyncIterator[int]:
    """Serve the gateway over HTTP; yield the port."""

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[dict[str, Any]]:
        nothing = cast("Lists", None)
        state = OrchestratorState(gateway.queries, gateway.admission, nothing, anybody)
        yield {"orchestrator": state, "readiness": lambda: None}

    async def leave() -> None:
        """At once."""

    async with Lifecycle() as life:
        app = create_service("Test", lifespan=lifespan, life=life, registry=gateway.registry, names=Names())
        app.include_router(api.router)
        with bind("127.0.0.1", 0) as listener:
            server = asyncio.create_task(serve(app, listener, life, leave=leave, drain_s=5))
            listener.listen()
            yield listener.getsockname()[1]
            life.stop()
            await server


async def test_a_body_that_does_not_come_in_time_is_a_timeout_and_the_end_of_its_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(intake, "_BODY_TIMEOUT_S", 0.2)
    gateway = Gateway()
    with anyio.fail_after(10):
        async with serving(gateway) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(HEAD + b'{"server":')
            answer = await reader.read()  # to its end
            writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 504")
    assert b"connection: close" in head
    assert b'"code":"timeout"' in body
    assert b'"executed":"no"' in body
    assert gateway.errors("unknown", "timeout") == 1
    assert gateway.admission.held_bytes == 0
