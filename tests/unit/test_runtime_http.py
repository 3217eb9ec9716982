"""What every HTTP service does alike: probes, errors, Host and Origin, bodies, and the end."""

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import anyio
import httpx
import pytest
import uvicorn
from fastapi import FastAPI, HTTPException, Request
from prometheus_client import Gauge

from services.runtime.errors import NoWorkerError, UnauthorizedError
from services.runtime.http import create_service, read_body
from services.runtime.http_settings import Names
from services.runtime.lifecycle import Lifecycle
from services.runtime.listening import PortInUseError, bind
from services.runtime.metrics import new_registry
from services.runtime.serving import KEEP_ALIVE_S, serve
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
SECRET = "http://internal:8080/hunter2"


class Running(NamedTuple):
    """A service under test."""

    port: int
    life: Lifecycle
    client: httpx.AsyncClient
    state: dict[str, Any]
    leaving: asyncio.Event
    may_leave: asyncio.Event
    serving: asyncio.Task[None]


def add_routes(app: FastAPI, state: dict[str, Any]) -> None:
    @app.post("/body")
    async def body(request: Request) -> dict[str, int]:
        return {"bytes": len(await read_body(request.receive, MIB, timeout_s=state["body_timeout_s"]))}

    @app.get("/number")
    async def number(limit: int) -> int:
        return limit

    @app.get("/bug")
    async def bug() -> None:
        raise RuntimeError(SECRET)

    @app.get("/unauthorized")
    async def unauthorized() -> None:
        raise UnauthorizedError

    @app.get("/gone")
    async def gone() -> None:
        raise NoWorkerError(retry_after_s=2.5)

    @app.get("/teapot")
    async def teapot() -> None:
        raise HTTPException(418, SECRET)

    @app.get("/slow")
    async def slow() -> str:
        state["slow"].set()
        await state["go_on"].wait()
        return "done"


@asynccontextmanager
async def service(
    *, hosts: tuple[str, ...] = (), origins: tuple[str, ...] = (), drain_s: float = 5, fails: bool = False
) -> AsyncIterator[Running]:
    """Serve an app on a free port until the test or the context stops it."""
    state: dict[str, Any] = {"reason": None, "body_timeout_s": 20, "slow": asyncio.Event(), "go_on": asyncio.Event()}
    leaving, may_leave = asyncio.Event(), asyncio.Event()
    may_leave.set()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
        if fails:
            raise RuntimeError(SECRET)
        yield {"readiness": lambda: state["reason"]}

    async def leave() -> None:
        leaving.set()
        await may_leave.wait()

    registry = new_registry()
    Gauge("mine", "Mine.", registry=registry).set(7)
    async with Lifecycle() as life:
        app = create_service("Test", lifespan=lifespan, life=life, registry=registry, names=Names(hosts, origins))
        add_routes(app, state)
        with bind("127.0.0.1", 0) as listener:
            port = listener.getsockname()[1]
            serving = asyncio.create_task(serve(app, listener, life, leave=leave, drain_s=drain_s))
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
                if not fails:
                    await until(lambda: accepts(port))
                yield Running(port, life, client, state, leaving, may_leave, serving)
            may_leave.set()
            state["go_on"].set()
            life.stop()
            await serving


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def is_problem(response: httpx.Response, status: int, code: str) -> bool:
    return (
        response.status_code == status
        and response.headers["content-type"] == "application/problem+json"
        and response.json()["code"] == code
        and response.json()["status"] == status
    )


async def raw(port: int, *parts: bytes) -> tuple[int, bytes]:
    """Send everything first and read afterwards; return the status and the rest of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for part in parts:
        writer.write(part)
        await writer.drain()
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    body = await reader.readexactly(length)
    writer.transport.abort()
    return int(head.split()[1]), head + body


def post(size: int) -> bytes:
    return b"POST /body HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % size


async def test_probes_and_metrics_answer() -> None:
    with anyio.fail_after(10):
        async with service() as running:
            assert (await running.client.get("/livez")).json() == {"status": "live"}
            assert (await running.client.get("/readyz")).json() == {"status": "ready"}
            metrics = await running.client.get("/metrics")
            assert "mine 7.0" in metrics.text
            assert metrics.headers["content-type"].startswith("text/plain")
            openmetrics = await running.client.get("/metrics", headers={"accept": "application/openmetrics-text"})
            assert openmetrics.headers["content-type"].startswith("application/openmetrics-text")
            running.state["reason"] = "the bus is away"
            not_ready = await running.client.get("/readyz")
            assert (not_ready.status_code, not_ready.json()["reason"]) == (503, "the bus is away")


async def test_every_error_is_a_problem() -> None:
    with anyio.fail_after(10):
        async with service() as running:
            get = running.client.get
            assert is_problem(await get("/nothing"), 404, "not_found")
            assert is_problem(await get("/livez/"), 404, "not_found")
            not_allowed = await running.client.delete("/livez")
            assert is_problem(not_allowed, 405, "method_not_allowed")
            assert not_allowed.headers["allow"] == "GET"
            wrong = await get("/number?limit=x")
            assert is_problem(wrong, 422, "invalid_request")
            assert wrong.json()["errors"] == [{"pointer": "/limit", "keyword": "type"}]
            teapot = await get("/teapot")
            assert is_problem(teapot, 422, "invalid_request")
            assert "hunter2" not in teapot.text
            unauthorized = await get("/unauthorized")
            assert is_problem(unauthorized, 401, "unauthorized")
            assert unauthorized.headers["www-authenticate"].startswith("Bearer")
            gone = await get("/gone")
            assert is_problem(gone, 503, "server_unavailable")
            assert gone.headers["retry-after"] == "3"


async def test_a_bug_is_told_without_its_text(caplog: pytest.LogCaptureFixture) -> None:
    with anyio.fail_after(10):
        async with service() as running:
            response = await running.client.get("/bug")
            assert is_problem(response, 500, "internal")
            assert "hunter2" not in response.text + str(response.headers)
            assert "request failed" in [record.message for record in caplog.records]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("localhost:8080", 200),
        ("LOCALHOST", 200),
        ("127.0.0.1:1", 200),
        ("[::1]:8080", 200),
        ("gateway.example", 200),
        ("GATEWAY.example:443", 200),
        ("evil.example", 421),
        ("gateway.example.evil", 421),
        ("localhost.evil", 421),
        ("127.0.0.1.evil", 421),
        ("[::1", 421),
        ("", 421),
    ],
)
async def test_only_our_hosts_are_answered(host: str, status: int) -> None:
    with anyio.fail_after(10):
        async with service(hosts=("Gateway.Example",)) as running:
            request = f"GET /livez HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
            answered, text = await raw(running.port, request)
            assert answered == status
            assert (b"misdirected_request" in text) == (status == 421)


async def test_any_host_is_answered_where_that_is_set() -> None:
    with anyio.fail_after(10):
        async with service(hosts=("*",)) as running:
            assert (await running.client.get("/livez", headers={"host": "any.example"})).status_code == 200


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (None, 200),
        ("http://localhost:8080", 200),
        ("https://console.example", 200),
        ("http://localhost:8081", 403),
        ("http://localhost", 403),
        ("http://evil.example", 403),
        ("https://console.example.evil", 403),
        ("null", 403),
        ("http://[", 403),
        ("localhost:8080", 403),
    ],
)
async def test_only_our_pages_may_ask(origin: str | None, status: int) -> None:
    headers = {"host": "localhost:8080", **({} if origin is None else {"origin": origin})}
    with anyio.fail_after(10):
        async with service(origins=("https://console.example",)) as running:
            response = await running.client.get("/livez", headers=headers)
            assert response.status_code == status
            assert status == 200 or is_problem(response, 403, "forbidden")


async def test_a_body_of_exactly_the_limit_is_taken_and_one_byte_more_is_not() -> None:
    with anyio.fail_after(20):
        async with service() as running:
            taken = await running.client.post("/body", content=bytes(MIB))
            assert taken.json() == {"bytes": MIB}
            refused = await running.client.post("/body", content=bytes(MIB + 1))
            assert is_problem(refused, 413, "payload_too_large")


async def test_a_body_in_chunks_is_counted_as_it_comes() -> None:
    async def chunks(count: int) -> AsyncIterator[bytes]:
        for _ in range(count):
            yield bytes(MIB // 4)

    with anyio.fail_after(20):
        async with service() as running:
            assert (await running.client.post("/body", content=chunks(4))).json() == {"bytes": MIB}
            assert is_problem(await running.client.post("/body", content=chunks(5)), 413, "payload_too_large")


@pytest.mark.parametrize("size", [5 * MIB, 16 * MIB])
async def test_a_caller_that_sends_too_much_before_it_reads_sees_the_answer(size: int) -> None:
    with anyio.fail_after(20):
        async with service() as running:
            status, text = await raw(running.port, post(size), *[bytes(MIB)] * (size // MIB))
            assert status == 413
            assert b"payload_too_large" in text


async def test_a_caller_that_sends_far_too_much_is_answered_before_its_end() -> None:
    with anyio.fail_after(20):
        async with service() as running:
            # The last mebibyte is never sent: the answer does not wait for it.
            status, _ = await raw(running.port, post(18 * MIB), *[bytes(MIB)] * 17)
            assert status == 413


@pytest.mark.parametrize(("sent", "status", "code"), [(MIB, 504, b'"timeout"'), (2 * MIB, 413, b'"payload_too_large"')])
async def test_a_caller_that_does_not_send_all_of_its_body_is_answered_all_the_same(
    sent: int, status: int, code: bytes
) -> None:
    with anyio.fail_after(20):
        async with service() as running:
            running.state["body_timeout_s"] = 0.2
            answered, text = await raw(running.port, post(4 * MIB), bytes(sent))
            assert answered == status
            assert code in text
            assert b'"executed":"no"' in text


async def test_a_caller_that_goes_away_while_it_sends_is_no_bug(caplog: pytest.LogCaptureFixture) -> None:
    with anyio.fail_after(10):
        async with service() as running:
            _, writer = await asyncio.open_connection("127.0.0.1", running.port)
            writer.write(post(MIB) + b"x")
            await writer.drain()
            writer.transport.abort()
            assert (await running.client.get("/livez")).status_code == 200
            running.life.stop()
            await running.serving
            assert [record.message for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_a_stopping_service_says_so_and_still_answers() -> None:
    with anyio.fail_after(10):
        async with service() as running:
            assert "connection" not in (await running.client.get("/livez")).headers
            running.may_leave.clear()
            running.life.stop()
            await running.leaving.wait()
            ready = await running.client.get("/readyz")
            assert (ready.status_code, ready.json()["reason"]) == (503, "draining")
            assert ready.headers["connection"] == "close"
            missing = await running.client.get("/nothing")
            assert missing.headers["connection"] == "close"
            misdirected = await running.client.get("/livez", headers={"host": "evil.example"})
            assert misdirected.headers["connection"] == "close"
            running.may_leave.set()
            await running.serving
            assert not accepts(running.port)


async def test_a_stopping_service_finishes_what_it_has_taken() -> None:
    with anyio.fail_after(10):
        async with service() as running:
            asking = asyncio.create_task(running.client.get("/slow"))
            await running.state["slow"].wait()
            running.life.stop()
            await until(lambda: not accepts(running.port))
            running.state["go_on"].set()
            assert (await asking).json() == "done"
            await running.serving


async def test_a_request_that_takes_too_long_does_not_hold_up_the_end() -> None:
    with anyio.fail_after(10):
        async with service(drain_s=0.5) as running:
            asking = asyncio.create_task(running.client.get("/slow"))
            await running.state["slow"].wait()
            running.life.stop()
            await running.serving
            await asyncio.wait([asking])
            assert not running.state["go_on"].is_set()


async def test_a_part_of_a_second_to_drain_is_not_rounded_to_none(monkeypatch: pytest.MonkeyPatch) -> None:
    config = await configuration(monkeypatch, drain_s=0.5)
    assert config["timeout_graceful_shutdown"] >= 0.5


async def test_idle_connections_are_kept_for_75_seconds_at_least(monkeypatch: pytest.MonkeyPatch) -> None:
    assert KEEP_ALIVE_S >= 75
    config = await configuration(monkeypatch, drain_s=5)
    assert config["timeout_keep_alive"] == KEEP_ALIVE_S
    assert not config["proxy_headers"], "a caller's X-Forwarded-For is not believed"
    assert not config["access_log"]


async def configuration(monkeypatch: pytest.MonkeyPatch, *, drain_s: float) -> dict[str, Any]:
    """Return what uvicorn is configured with."""
    seen: dict[str, Any] = {}
    original = uvicorn.Config

    def config(app: FastAPI, **options: Any) -> object:
        seen.update(options)
        return original(app, **options)

    monkeypatch.setattr(uvicorn, "Config", config)
    with anyio.fail_after(10):
        async with service(drain_s=drain_s):
            return seen


async def test_no_answer_names_the_software() -> None:
    with anyio.fail_after(10):
        async with service() as running:
            assert "server" not in (await running.client.get("/livez")).headers


async def test_a_service_that_cannot_start_ends_with_status_1(caplog: pytest.LogCaptureFixture) -> None:
    with anyio.fail_after(10):
        async with service(fails=True) as running:
            await running.serving
            assert running.life.status == 1


async def test_an_end_that_fails_is_still_an_end() -> None:
    async def fail() -> None:
        raise RuntimeError(SECRET)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
        yield {"readiness": lambda: None}

    with anyio.fail_after(10):
        async with Lifecycle() as life:
            app = create_service("Test", lifespan=lifespan, life=life, registry=new_registry(), names=Names())
            life.stop()
            with bind("127.0.0.1", 0) as listener:
                await serve(app, listener, life, leave=fail, drain_s=1)


def test_a_port_in_use_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortInUseError, match=f"port {port} on 127.0.0.1 is in use"):
            bind("127.0.0.1", port)


def test_our_children_do_not_inherit_the_port() -> None:
    with bind("127.0.0.1", 0) as listener:
        assert not listener.get_inheritable()


def test_a_service_may_listen_on_ipv6() -> None:
    with bind("::1", 0) as listener:
        assert listener.family is socket.AF_INET6


async def test_the_openapi_document_describes_the_probes() -> None:
    with anyio.fail_after(10):
        async with service() as running:
            document = json.loads((await running.client.get("/openapi.json")).text)
            assert {"/livez", "/readyz", "/metrics"} <= set(document["paths"])
