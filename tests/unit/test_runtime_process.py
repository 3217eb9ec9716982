"""How a service process ends: the status, and the one line for what an operator can mend."""

import json
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from services.runtime.bus import BusAwayError
from services.runtime.config.errors import ConfigError
from services.runtime.http import create_service
from services.runtime.http_process import run_http_service
from services.runtime.http_settings import HttpSettings
from services.runtime.lifecycle import Lifecycle
from services.runtime.listening import PortInUseError
from services.runtime.metrics import new_registry
from services.runtime.process import run_process
from services.runtime.settings import CommonSettings


@pytest.fixture(autouse=True)
def untouched_process() -> Iterator[None]:
    """Put the log and the signals of the test run back as they were."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    signals = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("services").setLevel(logging.NOTSET)
    for number, handler in signals.items():
        signal.signal(number, handler)


async def succeed(_: CommonSettings) -> int:
    return 3


def failing_with(error: Exception) -> Any:
    async def fail(_: CommonSettings) -> int:
        raise error

    return fail


def test_the_status_of_the_process_is_that_of_its_main_function() -> None:
    assert run_process("test", CommonSettings, succeed) == 3


@pytest.mark.parametrize(
    "error", [ConfigError(Path("busbar.yaml"), ["unknown key"]), PortInUseError("port 80 is in use")]
)
def test_what_an_operator_can_mend_is_one_line_and_status_1(
    capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    assert run_process("test", CommonSettings, failing_with(error)) == 1
    assert capsys.readouterr().err == f"busbar test: {error}\n"


def test_a_bus_that_is_away_is_status_1_without_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_process("test", CommonSettings, failing_with(BusAwayError())) == 1
    assert capsys.readouterr().err == ""


def test_a_setting_that_cannot_be_used_is_status_2_and_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BUSBAR_LOG_LEVEL", "LOUD")
    assert run_process("test", CommonSettings, succeed) == 2
    assert "BUSBAR_LOG_LEVEL" in capsys.readouterr().err


@pytest.mark.parametrize("content", [None, b"\xff\xfehunter2"])
def test_a_secret_file_that_cannot_be_read_is_status_2_and_its_variable_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "nats_url"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.delenv("BUSBAR_NATS_URL", raising=False)
    monkeypatch.setenv("BUSBAR_NATS_URL_FILE", str(file))
    assert run_process("test", CommonSettings, succeed) == 2
    assert capsys.readouterr().err == "busbar test: BUSBAR_NATS_URL_FILE: the file that it names cannot be read\n"


def test_the_log_level_set_is_in_force(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    async def log_detail(_: CommonSettings) -> int:
        logging.getLogger("services.test").debug("detail")
        return 0

    run_process("test", CommonSettings, log_detail)
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("BUSBAR_LOG_LEVEL", "DEBUG")
    run_process("test", CommonSettings, log_detail)
    assert json.loads(capsys.readouterr().err)["event"] == "detail"


def stopping_app(settings: HttpSettings, life: Lifecycle) -> FastAPI:
    """An app that is told to stop as soon as it has started."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
        os.kill(os.getpid(), signal.SIGTERM)
        yield {"readiness": lambda: None}

    return create_service("Test", lifespan=lifespan, life=life, registry=new_registry(), names=settings.names)


def test_a_service_that_is_told_to_stop_ends_with_status_0(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUSBAR_ANNOUNCE_S", "0")
    assert run_http_service("test", HttpSettings, stopping_app, port=lambda _: 0) == 0


def test_a_service_listens_where_its_settings_say(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BUSBAR_ANNOUNCE_S", "0")
    with socket.create_server(("127.0.0.2", 0)) as taken:
        port = taken.getsockname()[1]
        assert run_http_service("test", HttpSettings, stopping_app, port=lambda _: port) == 0
        monkeypatch.setenv("BUSBAR_HOST", "127.0.0.2")
        assert run_http_service("test", HttpSettings, stopping_app, port=lambda _: port) == 1
        assert capsys.readouterr().err == f"busbar test: port {port} on 127.0.0.2 is in use or not ours to take\n"
