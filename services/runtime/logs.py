"""JSON lines in production, readable lines on a terminal: a constant phrase and its fields."""

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

_OURS = frozenset({"services", "bus_schemas", "__main__"})

_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]


def _is_ours(record: logging.LogRecord) -> bool:
    return record.name.partition(".")[0] in _OURS


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    if not _is_ours(record):
        return {}
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


def _event(record: logging.LogRecord) -> str:
    """Our own constant phrase; of a library only its name: their texts and fields carry URLs, subjects and payloads."""
    if _is_ours(record):
        return record.getMessage()
    return f"{record.name} reported a problem"


def _frames(info: _ExcInfo) -> list[str]:
    """Where an exception was raised, without its text: texts of exceptions carry URLs, commands and arguments."""
    kind, error, _ = info
    frames = traceback.extract_tb(error.__traceback__)
    return [*(f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames), kind.__name__]


class JsonFormatter(logging.Formatter):
    """One JSON object a line: at, level, service, event, the record's fields, and where an exception came from."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "service": self._service,
            "event": _event(record),
            **_fields(record),
        }
        if record.exc_info and record.exc_info[0] is not None:
            line["raised"] = _frames(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


class TerminalFormatter(logging.Formatter):
    """The same for a human: `12:00:01 warning orchestrator: bus disconnected server=x`."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        fields = "".join(f" {name}={value}" for name, value in _fields(record).items())
        if record.exc_info and record.exc_info[0] is not None:
            fields += " raised=" + " > ".join(_frames(record.exc_info))
        return f"{at} {record.levelname.lower()} {self._service}: {_event(record)}{fields}"


def configure_logs(service: str, level: str = "INFO") -> None:
    """Send this process's log to stderr. Texts of other libraries below WARNING are left out."""
    formatter = TerminalFormatter(service) if sys.stderr.isatty() else JsonFormatter(service)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("services").setLevel(level)
