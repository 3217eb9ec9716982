"""The servers of the tests obey their verbs, and the processes of the tests leave nothing behind."""

import os
import signal
import socket
import sys
from pathlib import Path

import anyio
import nats as nats_client
import psutil
import pytest
import redis.asyncio as redis

from tests.support.ports import free_port
from tests.support.processes import ProcessDiedError, descendants, open_fds, python_process, rss_bytes, running
from tests.support.servers import NatsServer, ValkeyServer, nats_server, valkey_server
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

_PARENT_OF_AN_ORPHAN = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=len(sys.argv) > 1)
print(child.pid, flush=True)
time.sleep(600)
"""


async def test_the_shared_nats_server_takes_clients_with_its_url(nats: NatsServer) -> None:
    with anyio.fail_after(5):
        client = await nats_client.connect(nats.url)
        assert client.max_payload == 8 * 1024 * 1024
        await client.close()


async def test_the_shared_nats_server_refuses_clients_without_the_password(nats: NatsServer) -> None:
    with anyio.fail_after(5), pytest.raises(nats_client.errors.Error):
        await nats_client.connect(f"nats://127.0.0.1:{nats.port}", allow_reconnect=False, error_cb=_ignore)


async def test_no_password_is_among_the_arguments_of_a_server(nats: NatsServer, valkey: ValkeyServer) -> None:
    for server in (nats, valkey):
        password = server.url.split("@")[0].split(":")[-1]
        assert password not in " ".join(psutil.Process(server.pid).cmdline())


async def test_a_killed_nats_server_comes_back_on_its_port() -> None:
    async with nats_server() as server:
        url, pid = server.url, server.pid
        await server.kill()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port))
        await server.restart()
        assert server.url == url
        assert server.pid != pid
        client = await nats_client.connect(url)
        await client.close()
    assert not psutil.pid_exists(server.pid)


async def test_a_paused_nats_server_is_silent_until_it_is_resumed() -> None:
    async with nats_server() as server:
        server.pause()
        with pytest.raises(TimeoutError), anyio.fail_after(0.2):
            await nats_client.connect(server.url)
        server.resume()
        with anyio.fail_after(5):
            client = await nats_client.connect(server.url)
            await client.close()


async def test_a_paused_server_can_be_stopped() -> None:
    async with nats_server() as server:
        server.pause()
        await server.stop()


async def test_a_reload_puts_a_new_configuration_in_force() -> None:
    async with nats_server() as server:
        await server.reload("authorization { user: busbar, password: changed }")
        with anyio.fail_after(5), pytest.raises(nats_client.errors.Error):
            await nats_client.connect(server.url, allow_reconnect=False, error_cb=_ignore)
        client = await nats_client.connect(f"nats://busbar:changed@127.0.0.1:{server.port}")
        await client.close()


async def test_a_reload_that_the_server_refuses_is_told() -> None:
    async with nats_server() as server:
        with pytest.raises(ValueError, match="no_such_option"):
            await server.reload("no_such_option: 1")


async def test_the_shared_valkey_server_is_empty_at_the_start_of_a_test(valkey: ValkeyServer) -> None:
    async with redis.Redis.from_url(valkey.url) as client:
        assert await client.dbsize() == 0
        await client.set("left", "behind")


async def test_what_a_test_left_in_valkey_is_gone_in_the_next(valkey: ValkeyServer) -> None:
    async with redis.Redis.from_url(valkey.url) as client:
        assert await client.dbsize() == 0
        await client.set("left", "behind")


async def test_valkey_keeps_its_port_over_a_restart_and_its_data_if_configured() -> None:
    async with valkey_server(config="appendonly yes\nappendfsync always") as server:
        async with redis.Redis.from_url(server.url) as client:
            await client.set("key", "value")
        await server.kill()
        await server.restart()
        async with redis.Redis.from_url(server.url) as client:
            assert await client.get("key") == b"value"


async def test_a_server_is_ended_when_the_test_fails() -> None:
    pids = []

    async def failing_test() -> None:
        async with nats_server() as first, valkey_server() as second:
            second.pause()
            pids.extend([first.pid, second.pid])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await failing_test()
    assert [psutil.pid_exists(pid) for pid in pids] == [False, False]


async def test_a_server_that_cannot_start_says_what_it_printed() -> None:
    with pytest.raises(ProcessDiedError, match="no_such_option"):
        async with nats_server(config="no_such_option: 1"):
            pass


@pytest.mark.parametrize("own_session", [(), ("own-session",)])
async def test_the_children_of_an_ended_process_end_with_it(own_session: tuple[str, ...]) -> None:
    async with running([sys.executable, "-c", _PARENT_OF_AN_ORPHAN, *own_session]) as process:
        child = await _first_number(process.stdout_path)
        assert descendants(process.pid) == [child]
        assert open_fds(process.pid) > 2
        assert rss_bytes(process.pid) > 1024 * 1024
    assert not _lives(child)


@pytest.mark.parametrize("own_session", [(), ("own-session",)])
async def test_orphans_of_a_killed_process_are_found_and_ended(own_session: tuple[str, ...]) -> None:
    async with running([sys.executable, "-c", _PARENT_OF_AN_ORPHAN, *own_session]) as process:
        child = await _first_number(process.stdout_path)
        await process.kill()
        assert process.returncode == -signal.SIGKILL
        assert descendants(process.pid) == []
        assert process.leftovers() == [child]
    assert not _lives(child)


async def test_a_python_process_is_ready_when_its_url_answers() -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/"
    async with python_process("http.server", str(port), "--bind", "127.0.0.1", ready_url=url) as process:
        assert process.returncode is None
    assert process.returncode == -signal.SIGKILL


async def test_a_python_process_that_dies_before_it_is_ready_says_why() -> None:
    with pytest.raises(ProcessDiedError, match="no_such_module"):
        async with python_process("no_such_module", ready_url=f"http://127.0.0.1:{free_port()}/readyz"):
            pass


async def test_settings_of_the_developer_do_not_reach_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUSBAR_NATS_URL", "nats://elsewhere")
    program = "import os; print(sorted(name for name in os.environ if name.startswith('BUSBAR_')))"
    async with running([sys.executable, "-c", program], env={"BUSBAR_KEY": "of the test"}) as process:
        assert await process.wait() == 0
        assert process.stdout() == "['BUSBAR_KEY']\n"


async def _ignore(_error: Exception) -> None:
    """nats-py reports a failed connection also to its error callback."""


async def _first_number(path: Path) -> int:
    await until(lambda: path.read_text().endswith("\n"))
    return int(await anyio.Path(path).read_text())


def _lives(pid: int) -> bool:
    try:
        return os.getpgid(pid) > 0 and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False
