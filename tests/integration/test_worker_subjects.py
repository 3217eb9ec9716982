"""Where a worker takes calls: with the others of its version, and alone; and until when."""

from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from bus_schemas import subjects
from bus_schemas.calls import CallHeaders, Headers
from services.runtime.bus import BusMessage
from services.runtime.bus.inbox import NoRespondersError
from services.worker.consumer import CallConsumer
from services.worker.execution import Executed, Execution
from services.worker.replies import Replies
from services.worker.returns import Returns
from tests.support.buses import Connected, connected
from tests.support.servers import NatsServer

pytestmark = pytest.mark.anyio

SHARED = subjects.call("own", "1.0.0")
OWN = subjects.call_instance("own", "1.0.0", "i1")
HEADERS: Headers = CallHeaders("id", timeout_ms=5000, sent_at_ms=0, attempt=1, principal="p").encode()


class Echo:
    async def run(self, body: bytes, *_: Any) -> Executed:
        return Executed(body, 0, 0)


@pytest.fixture
async def here(nats: NatsServer) -> AsyncIterator[Connected]:
    async with connected(nats.url) as here:
        yield here


async def takes_calls(here: Connected, subject: str) -> bool:
    """Whether a call on the subject is answered; the alternative is that nobody listens."""
    try:
        reply: BusMessage = await here.inbox.ask(subject, b"{}", timeout_s=5, headers=HEADERS)
    except NoRespondersError:
        return False
    return reply.data == b"{}"


async def test_a_withdrawn_worker_takes_only_the_calls_that_no_other_can_answer(here: Connected) -> None:
    replies = Replies(here.bus, here.bus, Returns(here.bus), instance="i1", most_undelivered_bytes=1)
    consumer = CallConsumer(here.bus, cast("Execution", Echo()), replies, server="own", version="1.0.0", instance="i1")
    taken = []
    for step in (consumer.open, consumer.withdraw, consumer.open, consumer.close):
        await step()
        taken.append((await takes_calls(here, SHARED), await takes_calls(here, OWN)))
    assert taken == [(True, True), (False, True), (True, True), (False, False)]
