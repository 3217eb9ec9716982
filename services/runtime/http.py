"""What every HTTP service does alike: probes, problem+json, Host and Origin."""

import asyncio
import ipaddress
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import lru_cache
from typing import Any, Final
from urllib.parse import urlsplit

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import PlainTextResponse
from fastapi.telemetry import TelemetryConfig
from fastapi_offline import FastAPIOffline
from prometheus_client import CollectorRegistry
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bus_schemas.errors import ERRORS, ErrorCode, Problem
from services.runtime.errors import (
    DeadlinePassedError,
    ForbiddenError,
    InternalError,
    InvalidRequestError,
    PayloadTooLargeError,
    QueryError,
)
from services.runtime.field_errors import field_errors
from services.runtime.http_settings import Names
from services.runtime.ids import new_id
from services.runtime.lifecycle import Lifecycle
from services.runtime.loop_lag import LoopLag
from services.runtime.metrics import MEDIA_TYPES, expose
from services.runtime.openapi import define, problems
from services.runtime.problems import CONTENT_TYPE, problem_body, problem_headers

log = logging.getLogger(__name__)

DROPPED_BODY_BYTES = 16 * 1024 * 1024
"""How much of a body that is too large is read and dropped, so that the caller sees the answer."""

_OF_FASTAPI_ITSELF: Final[TelemetryConfig] = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "auto_configure": False,
}
"""None: its spans hold URLs, its logs the texts of exceptions."""

_HOSTS_REMEMBERED: Final = 256

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[dict[str, Any]]]
Readiness = Callable[[], str | None]


class PathNotFoundError(QueryError):
    """There is nothing at the path."""

    code = ErrorCode.NOT_FOUND


class MethodNotAllowedError(QueryError):
    """The path does not take the method."""

    code = ErrorCode.METHOD_NOT_ALLOWED


class BodyTimeoutError(DeadlinePassedError):
    """The body did not come in time; what is left of it is still in the connection's way."""


class MisdirectedRequestError(QueryError):
    """The Host is not one that this service answers for."""

    code = ErrorCode.MISDIRECTED_REQUEST


def problem_response(error: QueryError, request_id: str | None = None) -> Response:
    """Return `error` as the caller sees it."""
    return Response(
        problem_body(error, request_id or new_id()),
        status_code=ERRORS[error.code].status,
        media_type=CONTENT_TYPE,
        headers=problem_headers(error),
    )


async def read_body(
    receive: Receive, limit_bytes: int, *, timeout_s: float, on_part: Callable[[int], None] = lambda _: None
) -> bytes:
    """Return the whole body.

    Args:
        receive: of a request whose body nobody has read.
        limit_bytes: of the body.
        timeout_s: how long it may take to come.
        on_part: is told the size of each part that is kept.

    Raises:
        BodyTimeoutError: it has not all come. Otherwise a caller that sends a byte now and then keeps what it has sent
            in memory for as long as it likes.
        PayloadTooLargeError: it is over `limit_bytes`. Up to 16 MiB of it have been read and dropped, so that a caller
            who sends first and reads afterwards sees the answer and not a reset.
        ClientDisconnect: the caller has gone.
    """
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(timeout_s):
            is_whole = False
            while not is_whole and size <= DROPPED_BODY_BYTES:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                part = message.get("body", b"")
                is_whole = not message.get("more_body", False)
                size += len(part)
                if size <= limit_bytes:
                    parts.append(part)
                    on_part(len(part))
    except TimeoutError as error:
        if size <= limit_bytes:
            raise BodyTimeoutError from error
    if size > limit_bytes:
        raise PayloadTooLargeError
    return parts[0] if len(parts) == 1 else b"".join(parts)


class AddressGuard:
    """ASGI middleware: Host and Origin must be ours, which keeps a browser's rebound DNS names and pages out.

    A Host that is an address or `localhost` cannot be rebound and is always good.
    """

    def __init__(self, app: ASGIApp, *, names: Names, life: Lifecycle) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in names.hosts)
        self._origins = frozenset(names.origins)
        self._life = life
        self._is_our_host = lru_cache(maxsize=_HOSTS_REMEMBERED)(self._judge)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._life.stopping.is_set():
            send = announcing_close(send)
        refusal = self.refusal(scope["headers"])
        app = self._app if refusal is None else problem_response(refusal)
        await app(scope, receive, send)

    def refusal(self, headers: Iterable[tuple[bytes, bytes]]) -> QueryError | None:
        """Return why a request with these headers is not answered; None: it is."""
        host = origin = ""
        for name, value in headers:
            if name == b"host":
                host = value.decode("latin-1")
            elif name == b"origin":
                origin = value.decode("latin-1")
        if not self._is_our_host(host):
            return MisdirectedRequestError()
        if origin and origin not in self._origins and origin.partition("://")[2] != host:
            return ForbiddenError()
        return None

    def _judge(self, host: str) -> bool:
        """Whether the Host is one of ours."""
        if "*" in self._hosts:
            return True
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return name == "localhost" or name in self._hosts or _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def announcing_close(send: Send) -> Send:
    """Return what sends the same, and that the connection closes after it."""

    async def send_with_close(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
        await send(message)

    return send_with_close


_EVERYWHERE = problems(ErrorCode.FORBIDDEN, ErrorCode.MISDIRECTED_REQUEST)


def create_service(
    title: str,
    *,
    lifespan: Lifespan,
    life: Lifecycle,
    registry: CollectorRegistry,
    names: Names,
    description: str = "",
) -> FastAPI:
    """Return an app with /livez, /readyz and /metrics, whose every error is application/problem+json.

    The lifespan's state holds `readiness`: a function that says why the service is not ready, or None.
    """
    lag = LoopLag(registry)

    @asynccontextmanager
    async def watched_lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        async with lifespan(app) as state:
            life.start(lag.sample(), name="loop-lag")
            yield state

    app = FastAPIOffline(
        redoc_url=None,
        title=title,
        version="1",
        description=description,
        lifespan=watched_lifespan,
        redirect_slashes=False,
        telemetry=_OF_FASTAPI_ITSELF,
    )
    _define_problems(app)
    app.add_middleware(AddressGuard, names=names, life=life)
    app.add_exception_handler(QueryError, _query_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(ClientDisconnect, _caller_gone)
    app.add_exception_handler(Exception, _unexpected_error)

    @app.get("/livez", tags=["probes"], summary="The process runs", responses=_EVERYWHERE)
    async def livez() -> dict[str, str]:
        return {"status": "live"}

    @app.get(
        "/readyz",
        tags=["probes"],
        summary="Queries may be sent here",
        responses={503: {"model": dict[str, str], "description": "Not now"}, **_EVERYWHERE},
    )
    async def readyz(request: Request, response: Response) -> dict[str, str]:
        readiness: Readiness = request.state.readiness
        reason = "draining" if life.stopping.is_set() else readiness()
        if reason is None:
            return {"status": "ready"}
        response.status_code = 503
        return {"status": "not ready", "reason": reason}

    @app.get(
        "/metrics",
        tags=["probes"],
        summary="Prometheus text, or OpenMetrics",
        response_class=PlainTextResponse,
        responses={200: {"content": {kind: {"schema": {"type": "string"}} for kind in MEDIA_TYPES}}, **_EVERYWHERE},
    )
    async def metrics(request: Request) -> Response:
        body, content_type = expose(registry, request.headers.get("accept", ""))
        return Response(body, headers={"content-type": content_type})

    return app


def _define_problems(app: FastAPI) -> None:
    """Let the app's document say what a problem looks like, whenever it is made."""
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        document = describe()
        define(document, Problem, "serialization")
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way to extend the document


async def _query_error(_: Request, error: Exception) -> Response:
    return problem_response(error if isinstance(error, QueryError) else InternalError())


async def _http_error(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    response = problem_response({404: PathNotFoundError, 405: MethodNotAllowedError}.get(status, InvalidRequestError)())
    if isinstance(error, HTTPException) and (allow := (error.headers or {}).get("Allow")):
        response.headers["allow"] = allow
    return response


async def _validation_error(_: Request, error: Exception) -> Response:
    found = error.errors() if isinstance(error, RequestValidationError) else ()
    return problem_response(InvalidRequestError(errors=field_errors(found, skip=1)))


async def _caller_gone(_: Request, __: Exception) -> Response:
    return Response(status_code=400)  # nobody reads it


async def _unexpected_error(_: Request, error: Exception) -> Response:
    log.error("request failed", exc_info=error)
    return problem_response(InternalError())
