"""Orders to one worker on `mcp.v1.control.<server>.<instance>`, and their acknowledgements."""

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from bus_schemas.envelope import Message
from bus_schemas.names import InstanceId


class DescribeWorker(Message):
    """Asks a worker for its WorkerJoined, catalogue included (WorkerHeartbeat where it has none yet)."""

    order: Literal["describe"] = "describe"


class DrainWorker(Message):
    """Tells a worker to finish what it has, leave and exit."""

    order: Literal["drain"] = "drain"


class FindState(Message):
    """Asks a worker whether its server gave out this `requestState` in the last ten minutes."""

    order: Literal["find_state"] = "find_state"
    state_sha256: str = Field(description="`digests.state_digest` of the state.")


class AnswerAsked(Message):
    """Gives a worker the client's answer to what its server has asked during a call."""

    order: Literal["answer_asked"] = "answer_asked"
    ask_id: str
    answer: str
    """A JSON object with `result` or `error`."""


class StateFound(Message):
    """The answer to FindState; also the one that says no, so that nobody waits for it in vain."""

    instance: InstanceId
    is_held: bool


class Acknowledged(Message):
    """The worker has taken the order."""

    instance: InstanceId


Order = DescribeWorker | DrainWorker | FindState | AnswerAsked
_ORDERS: TypeAdapter[Order] = TypeAdapter(Annotated[Order, Field(discriminator="order")])


def decode_order(data: bytes) -> Order:
    """Return the order that `data` holds.

    Raises:
        ValueError: it is not an order of this release or its neighbours.
    """
    return _ORDERS.validate_json(data)
