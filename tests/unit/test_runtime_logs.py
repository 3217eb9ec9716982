"""What a log line holds, and what it never does."""

import json
import logging
import subprocess
import sys
from collections.abc import Iterator

import pytest

from services.runtime.logs import JsonFormatter, TerminalFormatter, configure_logs

SECRET = "nats://user:hunter2@internal"


@pytest.fixture(autouse=True)
def untouched_logging() -> Iterator[None]:
    """Put the log of the test run back as it was."""
    root, ours = logging.getLogger(), logging.getLogger("services")
    handlers, level, own_level = root.handlers[:], root.level, ours.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    ours.setLevel(own_level)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_line_is_one_json_object_with_the_phrase_and_its_fields(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("orchestrator")
    logging.getLogger("services.x").warning("worker\nleft", extra={"server": "grüße", "answered": 3, "path": {1}})
    (line,) = lines(capsys)
    assert str(line.pop("at")).endswith("+00:00")
    assert line == {
        "level": "warning",
        "service": "orchestrator",
        "event": "worker\nleft",
        "server": "grüße",
        "answered": 3,
        "path": "{1}",
    }


@pytest.mark.parametrize("formatter", [JsonFormatter("x"), TerminalFormatter("x")])
def test_the_text_of_an_exception_never_appears(formatter: logging.Formatter) -> None:
    try:
        try:
            raise ConnectionError(SECRET)
        except ConnectionError as error:
            raise ValueError(SECRET) from error
    except ValueError:
        info = sys.exc_info()
    record = logging.LogRecord("services.x", logging.ERROR, "", 0, "request failed", (), info)
    text = formatter.format(record)
    assert "hunter2" not in text
    assert "request failed" in text
    assert "ValueError" in text
    assert "test_the_text_of_an_exception_never_appears" in text


@pytest.mark.parametrize("formatter", [JsonFormatter("x"), TerminalFormatter("x")])
@pytest.mark.parametrize("library", ["nats.aio.client", "uvicorn.error", "servicesque", "asyncio"])
def test_neither_text_nor_fields_of_a_library_appear(formatter: logging.Formatter, library: str) -> None:
    record = logging.LogRecord(library, logging.ERROR, "", 0, f"cannot reach {SECRET} %s", (SECRET,), None)
    record.color_message = SECRET
    text = formatter.format(record)
    assert "hunter2" not in text
    assert f"{library} reported a problem" in text


def test_only_warnings_of_libraries_are_logged_and_ours_from_the_level_set(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("x", "INFO")
    logging.getLogger("nats").info("chatter")
    logging.getLogger("services.x").debug("detail")
    logging.getLogger("services.x").info("phrase")
    assert [line["event"] for line in lines(capsys)] == ["phrase"]
    configure_logs("x", "DEBUG")
    logging.getLogger("services.x").debug("detail")
    assert [line["event"] for line in lines(capsys)] == ["detail"]
    configure_logs("x", "ERROR")
    logging.getLogger("services.x").warning("phrase")
    assert lines(capsys) == []


def test_a_terminal_gets_readable_lines() -> None:
    record = logging.LogRecord("services.x", logging.WARNING, "", 0, "bus disconnected", (), None)
    record.server = "files"
    text = TerminalFormatter("orchestrator").format(record)
    assert text[8:] == " warning orchestrator: bus disconnected server=files"


def test_an_unretrieved_failure_of_a_task_does_not_tell_its_text() -> None:
    program = f"""
import asyncio, gc, logging
from services.runtime.logs import configure_logs
configure_logs("x")
async def fail(): raise ValueError({SECRET!r})
async def main():
    asyncio.create_task(fail())
    await asyncio.sleep(0.01)
    gc.collect()
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=True)
    assert "asyncio reported a problem" in done.stderr
    assert "hunter2" not in done.stderr
