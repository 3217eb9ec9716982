"""What a store that is killed, hung, full or full of garbage does to those who ask it: next to nothing."""

import asyncio
import logging
import random
import ssl
import time
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
import pytest

from services.runtime.store import Script, Store, StoreAwayError, StoreError, StoreRefusedError, client, connection
from tests.support.ports import free_port
from tests.support.stores import STORES, StoreServer, opened, store_server
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

ECHO = Script("return ARGV[1]")
PUT = Script("return redis.call('SET', KEYS[1], ARGV[1])")


@pytest.fixture(params=STORES)
def program(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
async def server(program: str) -> AsyncIterator[StoreServer]:
    async with store_server(program) as running:
        yield running


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let it be asked often whether it is back."""
    monkeypatch.setattr(client, "_ASK_AGAIN_S", 0.02)


LIMIT_S = client._LIMIT_S


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no busy machine pass for a store that is away."""
    monkeypatch.setattr(client, "_LIMIT_S", 20)


@pytest.fixture
def never(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once away, let it not be asked again."""
    monkeypatch.setattr(client, "_ASK_AGAIN_S", 3600)


async def fails(store: Store, times: int) -> None:
    """Ask so many times at once, in vain."""
    outcomes = await asyncio.gather(*(store.run(ECHO, [], [1]) for _ in range(times)), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {StoreAwayError}


async def connections_of(server: StoreServer) -> int:
    """How many connections the server has ever taken, without those of these looks."""
    async with server.client() as outside:
        await outside.ping()  # whoever waited to be let in has been
        looks = await outside.incr("looks")
        stats = await outside.info("stats")
        return int(stats["total_connections_received"]) - looks


async def runs_of(server: StoreServer) -> int:
    """How many scripts the server has ever been told to run."""
    async with server.client() as outside:
        commands = await outside.info("commandstats")
        return sum(commands.get(name, {"calls": 0})["calls"] for name in ("cmdstat_eval", "cmdstat_evalsha"))


async def test_a_reply_is_bytes_an_integer_none_or_a_list_of_these(server: StoreServer) -> None:
    script = Script("return {ARGV[1], 7, false, {KEYS[1]}}")
    with anyio.fail_after(10):
        async with opened(server.url) as store:
            assert await store.run(script, ["a key"], [b"\xff\r\n"]) == [b"\xff\r\n", 7, None, [b"a key"]]
            assert await store.run(Script("return nil"), []) is None
            assert await store.run(Script("return #ARGV[1]"), [], ["x" * 10**6]) == 10**6


async def test_a_script_is_sent_once_and_again_when_the_store_has_forgotten_it(server: StoreServer) -> None:
    with anyio.fail_after(10):
        async with opened(server.url) as store, server.client() as outside:
            assert [await store.run(ECHO, [], [n]) for n in range(5)] == [b"0", b"1", b"2", b"3", b"4"]
            await outside.script_flush()
            await outside.flushall()
            assert [await store.run(ECHO, [], [n]) for n in range(5)] == [b"0", b"1", b"2", b"3", b"4"]
            assert (await outside.info("commandstats"))["cmdstat_eval"]["calls"] == 2
            assert (await outside.info("commandstats"))["cmdstat_evalsha"]["calls"] == 10


async def test_without_a_url_the_store_is_always_away() -> None:
    async with opened(None) as store:
        assert store.is_away
        assert not store.evicts_everything
        with pytest.raises(StoreAwayError):
            await store.run(ECHO, [], [1])


async def test_a_store_that_is_down_at_the_start_is_used_from_when_it_is_up(
    quick: None, server: StoreServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with anyio.fail_after(15):
        await server.kill()
        async with opened(server.url) as store:
            returns: list[bool] = []
            store.on_return(lambda: returns.append(store.is_away))
            await fails(store, 3)
            await server.restart()
            await until(lambda: returns)
            assert await store.run(ECHO, [], [1]) == b"1"
            assert returns == [False]
    assert [record.message for record in caplog.records] == ["store is away", "store is back"]


async def test_a_killed_store_is_away_at_once_and_back_when_it_is_restarted(
    quick: None, server: StoreServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with anyio.fail_after(15):
        async with opened(server.url) as store:
            returns = asyncio.Event()
            store.on_return(returns.set)
            for _ in range(2):
                assert await store.run(ECHO, [], [1]) == b"1"
                await server.kill()
                with pytest.raises(StoreAwayError):
                    await store.run(ECHO, [], [1])
                assert store.is_away
                await fails(store, 200)
                await server.restart()
                await returns.wait()
                returns.clear()
    assert [record.message for record in caplog.records] == ["store is away", "store is back"] * 2


async def test_a_restart_is_noticed_without_a_call(quick: None, server: StoreServer) -> None:
    with anyio.fail_after(15):
        async with opened(server.url) as store:
            returned = asyncio.Event()
            store.on_return(returned.set)
            server.configure("maxmemory-policy allkeys-lfu")
            await server.restart()
            await returned.wait()
            assert await store.run(ECHO, [], [2]) == b"2"
            assert store.evicts_everything  # it has been asked again how it evicts


async def test_a_connection_that_the_server_closed_is_opened_again_without_a_call(
    quick: None, server: StoreServer
) -> None:
    with anyio.fail_after(10):
        async with opened(server.url) as store, server.client() as outside:
            returned = asyncio.Event()
            store.on_return(returned.set)
            await outside.client_kill_filter(_type="normal", skipme=True)
            await returned.wait()
            assert await store.run(ECHO, [], [1]) == b"1"


async def test_when_the_connection_breaks_all_who_wait_fail_at_once(server: StoreServer) -> None:
    with anyio.fail_after(10):  # at the limit of these tests it were 20 s
        async with opened(server.url) as store:
            server.pause()
            waiting = asyncio.create_task(fails(store, 100))
            await asyncio.sleep(0)
            await server.kill()
            await waiting
            assert store.is_away


async def test_a_hung_store_costs_callers_one_wait_and_then_no_traffic(
    never: None, server: StoreServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with anyio.fail_after(30):
        async with opened(server.url) as store:
            assert await store.run(ECHO, [], [1]) == b"1"
            before, runs = await connections_of(server), await runs_of(server)
            server.pause()
            monkeypatch.setattr(client, "_LIMIT_S", LIMIT_S)
            with anyio.fail_after(5):  # without a limit it were for ever
                await fails(store, 100)
            assert store.is_away
            with anyio.fail_after(5):  # at 0.1 s each it were 100 s
                for _ in range(1000):
                    await fails(store, 1)
            server.resume()
            assert await runs_of(server) - runs <= 100  # of the first ones, which had reached it
            assert await connections_of(server) - before == 2  # two looks at what ran
    assert [record.message for record in caplog.records] == ["store is away"]


async def test_what_a_hung_store_has_not_taken_is_never_sent(
    quick: None, server: StoreServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with anyio.fail_after(15):
        async with opened(server.url) as store:
            server.pause()
            monkeypatch.setattr(client, "_LIMIT_S", LIMIT_S)
            with pytest.raises(StoreAwayError):
                await store.run(PUT, ["key"], [b"x" * 40 * 2**20])
            monkeypatch.setattr(client, "_LIMIT_S", 20)
            server.resume()
            await until(lambda: not store.is_away)
            assert await runs_of(server) == 0


async def test_a_hung_store_is_used_again_when_it_goes_on(
    quick: None, server: StoreServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with anyio.fail_after(15):
        async with opened(server.url) as store, server.client() as outside:
            await asyncio.gather(*(store.run(ECHO, [], [1]) for _ in range(5)))
            server.pause()
            monkeypatch.setattr(client, "_LIMIT_S", LIMIT_S)
            await fails(store, 1)
            monkeypatch.setattr(client, "_LIMIT_S", 20)
            server.resume()
            while len(await outside.client_list()) > 1:  # none of those from before is used
                await anyio.sleep(0.01)
            await until(lambda: not store.is_away)
            assert [await store.run(ECHO, [], [n]) for n in range(5)] == [b"0", b"1", b"2", b"3", b"4"]


async def test_what_has_come_while_the_loop_was_busy_is_taken(
    server: StoreServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with anyio.fail_after(10):
        async with opened(server.url) as store:
            assert await store.run(ECHO, [], [1]) == b"1"
            monkeypatch.setattr(client, "_LIMIT_S", LIMIT_S)
            calls = [asyncio.create_task(store.run(ECHO, [], [n])) for n in range(100)]
            await asyncio.sleep(0)
            time.sleep(3 * LIMIT_S)  # noqa: ASYNC251
            assert await asyncio.gather(*calls) == [str(n).encode() for n in range(100)]
            assert not store.is_away


@pytest.mark.parametrize(
    "trouble",
    ["CONFIG SET maxmemory 1", "CONFIG SET min-replicas-to-write 1", "REPLICAOF 127.0.0.1 1", "LPUSH key element"],
)
async def test_an_error_of_the_store_is_told_without_its_text_and_others_are_served(
    server: StoreServer, trouble: str
) -> None:
    with anyio.fail_after(10):
        async with opened(server.url) as store, server.client() as outside:
            await outside.execute_command(*trouble.split())  # type: ignore[no-untyped-call]
            with pytest.raises(StoreRefusedError) as caught:
                await store.run(Script("return redis.call('APPEND', KEYS[1], ARGV[1])"), ["key"], ["value"])
            assert str(caught.value) == ""
            assert not store.is_away
            assert await store.run(ECHO, [], [1]) == b"1"


async def test_a_store_that_does_not_let_us_in_any_more_is_away_until_it_does(quick: None, server: StoreServer) -> None:
    with anyio.fail_after(10):
        async with opened(server.url) as store, server.client() as outside:
            password = (await outside.config_get("requirepass"))["requirepass"]
            await outside.config_set("requirepass", "another")
            await outside.client_kill_filter(_type="normal", skipme=True)
            await until(lambda: store.is_away)
            connected = (await outside.info("stats"))["total_connections_received"]
            while (await outside.info("stats"))[
                "total_connections_received"
            ] < connected + 2:  # it has been asked twice
                await anyio.sleep(0.01)
            assert store.is_away
            await outside.config_set("requirepass", str(password))
            await until(lambda: not store.is_away)
            assert await store.run(ECHO, [], [1]) == b"1"


async def test_a_store_that_says_it_serves_nobody_now_is_asked_again(quick: None, server: StoreServer) -> None:
    with anyio.fail_after(10):
        async with opened(server.url) as store, server.client() as outside:
            await outside.config_set("maxmemory-policy", "allkeys-lru")
            with pytest.raises(StoreRefusedError):
                await store.run(Script("return redis.error_reply('LOADING the dataset')"), [])
            await until(lambda: store.evicts_everything)
            assert not store.is_away


async def test_an_error_inside_a_list_is_no_reply_of_its_own(server: StoreServer) -> None:
    script = Script("return {1, {redis.error_reply('ERR ' .. ARGV[1]), ARGV[1]}, 2}")
    with anyio.fail_after(10):
        async with opened(server.url) as store:
            (one, (error, text), two), *others = await asyncio.gather(
                store.run(script, [], [b"\xff"]), *(store.run(ECHO, [], [n]) for n in range(5))
            )
            assert (one, text, two) == (1, b"\xff", 2)
            assert isinstance(error, Exception)
            assert others == [b"0", b"1", b"2", b"3", b"4"]


@asynccontextmanager
async def something_else(reply: bytes, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """The URL of a server that says the same to everything."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while await reader.read(4096):
                writer.write(reply)
        writer.close()

    listening = await asyncio.start_server(answer, "127.0.0.1", port := free_port(), ssl=tls)
    async with listening:
        yield f"{'rediss' if tls else 'redis'}://:hunter2@127.0.0.1:{port}/0"


@pytest.mark.parametrize(
    "reply",
    [
        b"-LOADING Redis is loading the dataset in memory\r\n",
        b"-WRONGPASS invalid username-password pair: hunter2\r\n",
        b"-ERR max number of clients reached\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"$x\r\n",
        b"\xff" * 10_000,
    ],
)
async def test_what_is_no_store_of_ours_is_away_and_no_password_is_told(
    quick: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, reply: bytes
) -> None:
    monkeypatch.setattr(client, "_LIMIT_S", LIMIT_S)
    caplog.set_level(logging.DEBUG)
    with anyio.fail_after(10):
        async with something_else(reply) as url, opened(url) as store:
            assert store.is_away
            with pytest.raises(StoreAwayError) as caught:
                await store.run(ECHO, [], [1])
            assert "hunter2" not in "".join(traceback.format_exception(caught.value))
    assert [record.message for record in caplog.records if record.name.startswith("services")] == ["store is away"]
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize(
    "url",
    ["http://u:hunter2@h", "redis://:hunter2/x@h:port", "redis://:hunter2@h?db=x", "redis://:hunter2@h?nonsense=1"],
)
async def test_a_url_that_cannot_be_used_is_refused_without_being_told(url: str) -> None:
    with pytest.raises(StoreError) as caught:
        async with opened(url):
            pass
    assert "hunter2" not in "".join(traceback.format_exception(caught.value, chain=True))


async def test_tls_will_do_where_the_certificate_is_known(tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    await anyio.run_process(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-keyout", str(key), "-out", str(certificate), "-subj", "/CN=store"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
        ]
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    with anyio.fail_after(20):
        async with something_else(b"+OK\r\n", context) as url, something_else(b"+OK\r\n") as plain:
            async with opened(f"{url}?ssl_ca_certs={certificate}") as store:
                assert await store.run(ECHO, [], [1]) == b"OK"
            async with opened(url) as store:
                assert store.is_away
            async with opened(plain.replace("redis:", "rediss:")) as store:
                assert store.is_away


async def test_a_unix_socket_will_do(program: str, tmp_path: Path) -> None:
    socket = f"{tmp_path}/s"
    with anyio.fail_after(10):
        async with store_server(program, config=f"unixsocket {socket}") as server, server.client() as outside:
            password = (await outside.config_get("requirepass"))["requirepass"]
            async with opened(f"unix://:{password}@{socket}?db=1") as store:
                await store.run(PUT, ["key"], [1])
            assert await outside.dbsize() == 0
            assert (await outside.info("keyspace"))["db1"]["keys"] == 1


@pytest.mark.parametrize(("policy", "evicts"), [("allkeys-lru", True), ("volatile-lru", False), ("noeviction", False)])
async def test_it_is_known_whether_a_full_store_drops_what_has_no_lifetime(
    program: str, policy: str, *, evicts: bool
) -> None:
    with anyio.fail_after(10):
        async with store_server(program, config=f"maxmemory-policy {policy}") as server, opened(server.url) as store:
            assert store.evicts_everything is evicts


async def test_a_store_that_may_not_tell_how_it_evicts_is_used_all_the_same(program: str) -> None:
    with anyio.fail_after(10):
        async with store_server(program, config="maxmemory-policy allkeys-lru") as server, server.client() as outside:
            await outside.acl_setuser("default", enabled=True, commands=["-info"])
            async with opened(server.url) as store:
                assert await store.run(ECHO, [], [1]) == b"1"
                assert not store.evicts_everything


@pytest.mark.parametrize(("bound", "number"), [("MAX_WAITING", 3), ("MAX_WAITING_BYTES", 3500)])
async def test_one_call_too_many_fails_alone(
    server: StoreServer, monkeypatch: pytest.MonkeyPatch, bound: str, number: int
) -> None:
    text = "x" * 1000
    with anyio.fail_after(10):
        async with opened(server.url) as store:
            await store.run(ECHO, [], [text])
            monkeypatch.setattr(connection, bound, number)
            server.pause()
            waiting = [asyncio.create_task(store.run(ECHO, [], [text])) for _ in range(3)]
            await asyncio.sleep(0)
            with pytest.raises(StoreAwayError):
                await store.run(ECHO, [], [text])
            assert not store.is_away
            server.resume()
            assert await asyncio.gather(*waiting) == [text.encode()] * 3
            assert await store.run(ECHO, [], [text]) == text.encode()


async def test_very_many_calls_at_once_are_all_answered_over_one_connection(server: StoreServer) -> None:
    with anyio.fail_after(20):
        async with opened(server.url) as store:
            before = await connections_of(server)
            for _ in range(3):
                answers = await asyncio.gather(*(store.run(ECHO, [], [n]) for n in range(2000)))
                assert answers == [str(n).encode() for n in range(2000)]
            assert await connections_of(server) == before


async def test_what_the_store_says_unasked_is_nobodys_answer(never: None, caplog: pytest.LogCaptureFixture) -> None:
    with anyio.fail_after(10):
        async with something_else(b"+OK\r\n+OK\r\n") as url, opened(url.replace(":hunter2@", "")) as store:
            await until(lambda: store.is_away)
    assert [record.message for record in caplog.records] == ["store is away"]


async def test_after_calls_that_were_cancelled_at_any_moment_each_caller_gets_its_own_answer(
    server: StoreServer,
) -> None:
    chance = random.Random(7)  # noqa: S311
    cancelled = 0

    async def give_up(store: Store, name: str) -> None:
        nonlocal cancelled
        for n in range(50):
            call = asyncio.create_task(store.run(ECHO, [], [f"{name}-{n}"]))
            for _ in range(chance.randrange(20)):
                await asyncio.sleep(0)
            call.cancel()
            await asyncio.wait([call])
            cancelled += call.cancelled()
            assert call.cancelled() or call.result() == f"{name}-{n}".encode()

    async def keep(store: Store, name: str) -> None:
        for n in range(100):
            assert await store.run(ECHO, [], [f"{name}-{n}"]) == f"{name}-{n}".encode()

    with anyio.fail_after(60):
        async with opened(server.url) as store:
            async with anyio.create_task_group() as tasks:
                for number in range(10):
                    tasks.start_soon(give_up, store, f"given-up-{number}")
                    tasks.start_soon(keep, store, f"kept-{number}")
            assert not store.is_away
    assert cancelled >= 50


async def test_a_closed_store_has_left_no_connection_and_is_away(quick: None, server: StoreServer) -> None:
    with anyio.fail_after(10):
        async with server.client() as outside:
            async with opened(server.url) as store:
                await asyncio.gather(*(store.run(ECHO, [], [1]) for _ in range(20)))
                assert len(await outside.client_list()) > 1
            with pytest.raises(StoreAwayError):
                await store.run(ECHO, [], [1])
            while len(await outside.client_list()) > 1:
                await anyio.sleep(0.01)
