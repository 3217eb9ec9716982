"""Fixtures that every test may use: the event loop, real servers, a free port.

The servers live as long as the test session; a test that breaks one starts its own with `nats_server()`.
"""

import os
import signal
from collections.abc import Iterator

import anyio
import hypothesis
import pytest
import redis

from tests.support import ports
from tests.support.servers import NatsServer, ValkeyServer


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """A NATS server shared by the session."""
    # Not an async fixture: one of session scope would make all tests share its event loop.
    server = NatsServer(tmp_path_factory.mktemp("nats"))
    try:
        anyio.run(server.start_on_free_port)
        yield server
    finally:
        server.end()


@pytest.fixture(scope="session")
def valkey_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    server = ValkeyServer(tmp_path_factory.mktemp("valkey"))
    try:
        anyio.run(server.start_on_free_port)
        yield server
    finally:
        server.end()


@pytest.fixture
def valkey(valkey_process: ValkeyServer) -> ValkeyServer:
    """A Valkey server shared by the session, empty at the start of each test."""
    with redis.Redis.from_url(valkey_process.url) as client:
        client.flushall()
    return valkey_process


@pytest.fixture
def free_port() -> int:
    """A TCP port that was free on 127.0.0.1 a moment ago; `ports.free_port()` gives more."""
    return ports.free_port()


# No limit on the time of one example: on a busy machine it would speak of the machine.
hypothesis.settings.register_profile("busbar", deadline=None)
hypothesis.settings.load_profile("busbar")


def pytest_configure() -> None:
    """Let Ctrl-C reach what tests start: a shell that runs us in the background lets all of us ignore it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a skipped test is a failure: .ci/setup installs every program that a test may want."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
