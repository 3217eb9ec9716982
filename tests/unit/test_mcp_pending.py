"""Which of the requests on one stream a message is for."""

import asyncio
import json

import pytest

from services.runtime.errors import UpstreamError
from services.worker.mcp.pending import PendingExchanges
from services.worker.mcp.session import Hearing
from services.worker.mcp.transport import Exchange

pytestmark = pytest.mark.anyio


def cancelled(request_id: str) -> bytes:
    return b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%s}}' % request_id.encode()


async def test_a_subscription_that_the_server_cancels_is_over() -> None:
    pending = PendingExchanges()
    with pending.expected(Exchange(1, b"", is_subscription=True)) as response:
        assert pending.take(cancelled("2")) is None
        assert not response.done()
        pending.take(cancelled("1"))
        with pytest.raises(UpstreamError):
            await response


@pytest.mark.parametrize("request_id", ["1", '"1"', "1.5", "null", "[]", "{}"])
async def test_anything_else_that_a_server_cancels_is_a_request_of_its_own(request_id: str) -> None:
    pending = PendingExchanges()
    with pending.expected(Exchange(1, b"")) as response:
        pending.take(cancelled(request_id))
        assert not response.done()
        pending.take(b'{"jsonrpc":"2.0","id":1,"result":{}}')
        assert (await response).id == 1


async def test_an_acknowledged_subscription_makes_what_was_listed_before_old() -> None:
    pending = PendingExchanges()
    changed = asyncio.ensure_future(pending.lists_changed())
    pending.take(b'{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged"}')
    async with asyncio.timeout(5):
        await changed


LOG = b'{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1}}'
ASKED = b'{"jsonrpc":"2.0","id":"s1","method":"elicitation/create","params":{"message":"?"}}'
SAID = b'{"level":"info","data":1}'


async def accept(method: str, params: bytes) -> bytes:
    return b'{"result":{"method":"%s","params":%s}}' % (method.encode(), params)


async def test_what_does_not_say_whose_it_is_belongs_to_the_one_request_that_runs() -> None:
    pending = PendingExchanges()
    heard: list[bytes] = []
    hearing = Hearing(log=heard.append, ask=accept)
    with pending.expected(Exchange(1, b"", is_subscription=True)), pending.expected(Exchange(2, b"", hearing=hearing)):
        pending.take(LOG)
        answering = pending.take(ASKED)
        assert answering is not None
        assert json.loads(await answering) == {
            "jsonrpc": "2.0",
            "id": "s1",
            "result": {"method": "elicitation/create", "params": {"message": "?"}},
        }
    assert heard == [SAID]


async def test_where_several_run_it_belongs_to_none() -> None:
    pending = PendingExchanges()
    heard: list[bytes] = []
    hearing = Hearing(log=heard.append, ask=accept)
    with pending.expected(Exchange(1, b"", hearing=hearing)), pending.expected(Exchange(2, b"", hearing=hearing)):
        pending.take(LOG)
        answering = pending.take(ASKED)
        assert answering is not None
        assert json.loads(await answering)["error"]["code"] == -32601
    assert heard == []


async def test_a_ping_is_answered_whatever_runs() -> None:
    pending = PendingExchanges()
    with pending.expected(Exchange(1, b"", hearing=Hearing(ask=accept))):
        answering = pending.take(b'{"jsonrpc":"2.0","id":7,"method":"ping"}')
        assert answering is not None
        assert json.loads(await answering) == {"jsonrpc": "2.0", "id": 7, "result": {}}
