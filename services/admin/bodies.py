"""The bodies of requests: read when the key has been admitted, I-JSON, checked against a model.

FastAPI would read a body, however large, before it asks for the key, and take what only some readers take for JSON.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final, TypeVar

from fastapi import Request
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from bus_schemas.errors import ErrorCode
from bus_schemas.queries import MAX_BODY_BYTES
from services.runtime.errors import InvalidRequestError, UnsupportedMediaTypeError
from services.runtime.field_errors import field_errors
from services.runtime.http import read_body
from services.runtime.i_json import read_i_json

BODY_ERRORS: Final = (
    ErrorCode.INVALID_JSON,
    ErrorCode.PAYLOAD_TOO_LARGE,
    ErrorCode.UNSUPPORTED_MEDIA_TYPE,
    ErrorCode.INVALID_REQUEST,
    ErrorCode.TIMEOUT,
)
"""What can be wrong with any of them; `timeout` where it does not come."""

_TIMEOUT_S: Final = 10.0
_TEXT: Final = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"

Reason = Annotated[str, StringConstraints(max_length=256, pattern=_TEXT)]
"""An operator's own words on why: one line, not blank."""


class Body(BaseModel):
    """The base of what is asked for; what it does not know is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


BodyT = TypeVar("BodyT", bound=Body)


def reading_body(model: type[BodyT]) -> Callable[[Request], Awaitable[BodyT]]:
    """Return the dependency that reads a body as `model`; it belongs behind the one that admits the key.

    It raises one of `BODY_ERRORS`.
    """

    async def read(request: Request) -> BodyT:
        data = await read_body(request.receive, MAX_BODY_BYTES, timeout_s=_TIMEOUT_S)
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise UnsupportedMediaTypeError
        try:
            return model.model_validate(read_i_json(data))
        except ValidationError as error:
            raise InvalidRequestError(errors=field_errors(error.errors())) from error

    return read


def described(model: type[Body]) -> dict[str, Any]:
    """Return what the OpenAPI document says of a body, which FastAPI does not see."""
    content = {"application/json": {"schema": model.model_json_schema()}}
    return {"requestBody": {"required": True, "content": content}}
