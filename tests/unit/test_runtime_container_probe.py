"""A container is healthy when the one service in it says that it is ready."""

import socket
import threading
from collections.abc import Iterator

import pytest

from services.runtime.container_probe import is_ready
from tests.support.ports import free_port

VARIABLES = ("BUSBAR_ORCHESTRATOR_PORT", "BUSBAR_HEALTH_PORT", "BUSBAR_ADMIN_PORT", "BUSBAR_METRICS_PORT")


@pytest.fixture
def environ() -> dict[str, str]:
    """Ports on which nobody listens."""
    return {name: str(free_port()) for name in VARIABLES}


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def answer_once(listener: socket.socket, answer: bytes) -> None:
    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            assert connection.recv(1024).startswith(b"GET /readyz ")
            connection.sendall(answer)

    threading.Thread(target=serve, daemon=True).start()


@pytest.mark.parametrize("variable", VARIABLES)
@pytest.mark.parametrize(("answer", "ready"), [(b"HTTP/1.1 200 OK\r\n\r\n", True), (b"HTTP/1.1 503 No\r\n\r\n", False)])
def test_whichever_service_listens_is_asked(
    variable: str, answer: bytes, ready: bool, environ: dict[str, str], listener: socket.socket
) -> None:
    answer_once(listener, answer)
    assert is_ready({**environ, variable: str(listener.getsockname()[1])}) is ready


def test_where_nobody_listens_nothing_is_ready(environ: dict[str, str]) -> None:
    assert not is_ready(environ)


def test_who_says_something_else_is_not_ready(environ: dict[str, str], listener: socket.socket) -> None:
    answer_once(listener, b"200")
    assert not is_ready({**environ, "BUSBAR_HEALTH_PORT": str(listener.getsockname()[1])})
