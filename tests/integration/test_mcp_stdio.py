"""The stdio transport against a server that breaks the rules."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from services.runtime.config.connections import Connection
from services.runtime.errors import (
    DeadlineExceededError,
    DeadlinePassedError,
    ResultTooLargeError,
    UpstreamError,
    UpstreamRefusedError,
)
from services.worker.mcp import opening
from services.worker.mcp.opening import SessionOpener
from services.worker.mcp.session import MAX_RESULT_BYTES, OpenError, Session
from tests.support.mcp_servers import raw_stdio
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """Both event loops: they differ in what they do with pipes that close."""
    return "asyncio", {"use_uvloop": request.param}


def opener(*flags: str) -> SessionOpener:
    """What opens sessions with the raw server."""
    command = (sys.executable, raw_stdio.__file__, *flags)
    return SessionOpener(Connection(transport="stdio", command=command, cwd=Path.cwd()))


@asynccontextmanager
async def opened(*flags: str) -> AsyncIterator[Session]:
    async with opener(*flags).open() as session:
        yield session


async def call(session: Session, tool: str, arguments: str = "{}", timeout_s: float = 10) -> bytes:
    params = f'{{"name":"{tool}","arguments":{arguments}}}'
    return await session.request("tools/call", params.encode(), timeout_s=timeout_s)


def received(log: Path) -> list[dict[str, object]]:
    """The messages that the server has got so far."""
    return [json.loads(line) for line in log.read_bytes().splitlines()] if log.exists() else []


async def test_a_result_is_the_servers_own_bytes() -> None:
    async with opened() as session:
        assert await call(session, "odd") == raw_stdio.ODD_RESULT


async def test_a_deep_result_is_unchanged() -> None:
    async with opened() as session:
        assert await call(session, "deep") == b'{"x":' + b"[" * raw_stdio.DEPTH + b"]" * raw_stdio.DEPTH + b"}"


async def test_arguments_reach_the_server_as_they_were_written(tmp_path: Path) -> None:
    log = tmp_path / "log"
    arguments = '{ "n":1.0e5,\n "big":123456789012345678901234567890, "u":"\\u00fc" }'
    async with opened(f"--log={log}") as session:
        await call(session, "odd", arguments)
    assert arguments.replace("\n", " ").encode() in log.read_bytes()


@pytest.mark.parametrize("size", [1, 3_000_000, 15_000_000, MAX_RESULT_BYTES])
async def test_a_result_up_to_the_cap_arrives(size: int) -> None:
    async with opened() as session:
        assert len(await call(session, "fill", f'{{"size":{max(size, 8)}}}')) == max(size, 8)


async def test_a_result_one_byte_over_the_cap_is_too_large_and_costs_nobody_else() -> None:
    async with opened() as session:
        other = asyncio.ensure_future(call(session, "later", '{"seconds": 1}'))
        with pytest.raises(ResultTooLargeError):
            await call(session, "fill", f'{{"size":{MAX_RESULT_BYTES + 1}}}')
        assert await other == b"{}"


@pytest.mark.parametrize("tool", ["long-line", "long-line-id-first"])
async def test_a_line_that_cannot_be_kept_costs_its_own_call_alone(tool: str) -> None:
    async with opened() as session:
        other = asyncio.ensure_future(call(session, "later", '{"seconds": 1}'))
        with anyio.fail_after(10):
            with pytest.raises(ResultTooLargeError):
                await call(session, tool, timeout_s=60)
            assert await other == b"{}"
            assert await call(session, "odd") == raw_stdio.ODD_RESULT


async def test_a_line_that_cannot_be_kept_and_does_not_say_whose_it_is_ends_the_session() -> None:
    async with opened() as session:
        other = asyncio.ensure_future(call(session, "never"))
        with anyio.fail_after(10):
            with pytest.raises(UpstreamError):
                await call(session, "long-line-id-hidden")
            with pytest.raises(UpstreamError):
                await other
            assert await session.closed() == "Protocol error"


async def test_what_is_no_message_is_passed_over() -> None:
    async with opened() as session:
        assert await call(session, "garbage") == b"{}"


@pytest.mark.parametrize("tool", ["nan", "bad-utf8", "no-object"])
async def test_a_broken_result_fails_its_call_at_once_and_no_other(tool: str) -> None:
    async with opened() as session:
        with anyio.fail_after(5):
            with pytest.raises(UpstreamError):
                await call(session, tool, timeout_s=60)
            assert await call(session, "odd") == raw_stdio.ODD_RESULT


async def test_an_error_is_the_servers_own_bytes() -> None:
    async with opened() as session:
        with pytest.raises(UpstreamRefusedError) as refusal:
            await call(session, "refuse")
        assert refusal.value.mcp_error == '{"code":-32602, "message":"no ü","data":{"x":[1.0]}}'.encode()


async def test_a_server_that_exits_mid_call_fails_its_calls_and_closes_the_session() -> None:
    async with opened() as session:
        other = asyncio.ensure_future(call(session, "never"))
        with anyio.fail_after(5):
            with pytest.raises(UpstreamError):
                await call(session, "exit")
            with pytest.raises(UpstreamError):
                await other
            assert await session.closed() == "Process exited"


async def test_a_call_that_is_not_answered_is_cancelled_at_the_server(tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with opened(f"--log={log}") as session:
        with pytest.raises(DeadlineExceededError):
            await call(session, "never", timeout_s=0.1)
        await until(lambda: received(log)[-1].get("method") == "notifications/cancelled")
        messages = received(log)
        assert messages[-1]["params"]["requestId"] == messages[-2]["id"]  # type: ignore[index]


async def test_a_late_answer_is_nobodys() -> None:
    async with opened() as session:
        with pytest.raises(DeadlineExceededError):
            await call(session, "later", '{"seconds": 0.3}', timeout_s=0.1)
        assert await call(session, "later", '{"seconds": 0.5}') == b"{}"


async def test_a_call_that_a_server_does_not_read_was_certainly_not_executed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with opened(f"--log={log}") as session:
        stuck = asyncio.ensure_future(call(session, "stop-reading", timeout_s=60))
        await until(lambda: len(received(log)) == 2)
        filler = '{"x":"' + "x" * 400_000 + '"}'
        # The first fills the pipe and our buffer; what comes after it is never written.
        with pytest.raises(DeadlineExceededError):
            await call(session, "odd", filler, timeout_s=0.3)
        with pytest.raises(DeadlinePassedError):
            await call(session, "odd", filler, timeout_s=0.3)
        stuck.cancel()
        await asyncio.wait([stuck])


async def test_a_server_that_asks_is_answered(tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with opened(f"--log={log}") as session:
        await call(session, "ask")
        await until(lambda: len([message for message in received(log) if "method" not in message]) == 2)
    answers = {message["id"]: message for message in received(log) if "method" not in message}
    assert answers["s1"]["result"] == {}
    assert answers["s2"]["error"]["code"] == -32601  # type: ignore[index]


async def test_a_change_of_the_lists_is_told() -> None:
    async with opened() as session:
        changed = asyncio.ensure_future(session.lists_changed())
        await call(session, "change")
        with anyio.fail_after(5):
            await changed


async def test_unknown_fields_of_a_definition_are_kept() -> None:
    async with opened() as session:
        catalogue = await session.catalogue()
    assert catalogue.tools == [{"name": "odd", "inputSchema": {"type": "object"}, "vendor": {"x": 1}}]
    assert catalogue.resources == []


async def test_a_server_that_refuses_the_modern_greeting_is_greeted_the_old_way() -> None:
    async with opened("--legacy") as session:
        assert session.server_info.era == "legacy"
        assert await call(session, "odd") == raw_stdio.ODD_RESULT
        assert await session.probe(5) > 0


async def test_a_server_that_exits_when_asked_in_the_modern_form_is_started_afresh(tmp_path: Path) -> None:
    log = tmp_path / "log"
    opens = opener("--legacy", "--exit-on-discover", f"--log={log}")
    for _ in range(2):
        async with opens.open() as session:
            assert session.server_info.era == "legacy"
    # Once asked, it is remembered.
    assert [message["method"] for message in received(log)].count("server/discover") == 1


async def test_a_server_that_is_silent_when_asked_in_the_modern_form_is_started_afresh(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(opening, "SILENCE_LIMIT_S", 0.5)
    async with opened("--legacy", "--silent-on-discover") as session:
        assert session.server_info.era == "legacy"


@pytest.mark.parametrize("version", ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"])
async def test_every_revision_of_the_handshake_is_spoken(version: str) -> None:
    async with opened("--legacy", f"--version={version}") as session:
        assert session.server_info.protocol_version == version
        assert await call(session, "odd") == raw_stdio.ODD_RESULT


async def test_a_revision_that_nobody_knows_is_a_protocol_error() -> None:
    with pytest.raises(OpenError) as error:
        async with opened("--legacy", "--version=1999-01-01"):
            pass
    assert error.value.fault == "Protocol error"


async def test_a_command_that_exits_at_once_is_told_as_such() -> None:
    failing = SessionOpener(Connection(transport="stdio", command=("false",), cwd=Path.cwd()))
    with anyio.fail_after(10), pytest.raises(OpenError) as error:
        async with failing.open():
            pass
    assert error.value.fault == "Process exited"


async def test_a_command_that_does_not_exist_is_told_without_its_name() -> None:
    failing = SessionOpener(Connection(transport="stdio", command=("/secret/program",), cwd=Path.cwd()))
    with pytest.raises(OpenError) as error:
        async with failing.open():
            pass
    assert error.value.fault == "Process exited"
    assert "secret" not in str(error.value)


async def test_a_silent_server_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "SILENCE_LIMIT_S", 0.2)
    monkeypatch.setattr(opening, "START_LIMIT_S", 0.4)
    with anyio.fail_after(20), pytest.raises(OpenError) as error:
        async with opened("--silent"):
            pass
    assert error.value.fault == "Not responding"
