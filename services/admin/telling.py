"""How every orchestrator is told something, and what the operator is told of those who have heard it."""

from typing import Any

from fastapi import Response
from pydantic import BaseModel, Field

from bus_schemas.envelope import Message
from bus_schemas.errors import ErrorCode
from services.admin.errors import FleetUnavailableError
from services.runtime.bus import BusAwayError
from services.runtime.openapi import problems
from services.runtime.replicas import Acknowledgements, Replicas


class TellReport(BaseModel):
    """Who goes by it from now on."""

    acknowledged_by: list[str] = Field(description="Orchestrators.")
    missing: list[str] = Field(description="Live orchestrators that did not say so within 1.5 s.")


async def tell(replicas: Replicas, subject: str, message: Message) -> Acknowledgements:
    """Tell all orchestrators; return when every live one has acknowledged it, or in 1.5 s.

    Raises:
        FleetUnavailableError: the bus is away, and nobody was told.
    """
    try:
        return await replicas.tell(subject, message.encode())
    except BusAwayError as error:
        raise FleetUnavailableError from error


def told(report: TellReport) -> Response:
    """Return the answer: 504 where somebody is missing."""
    return Response(report.model_dump_json(), 504 if report.missing else 200, media_type="application/json")


def telling_responses(report: type[TellReport], *codes: ErrorCode) -> dict[int | str, dict[str, Any]]:
    """Return the responses of an operation that tells everybody something: `codes`, and 504 with its report."""
    responses = problems(*codes)
    late = responses.setdefault(504, {"description": ""})
    late["model"] = report
    late["description"] = " · ".join(filter(None, (late["description"], "Done, but not acknowledged by everybody")))
    return responses
