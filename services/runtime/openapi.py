"""What every service's OpenAPI document says of errors: one response a status, with an example of each code."""

from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from bus_schemas.errors import ERRORS, ErrorCode
from services.runtime.problems import CONTENT_TYPE

REFERENCE = "#/components/schemas/{model}"


def problems(*codes: ErrorCode) -> dict[int | str, dict[str, Any]]:
    """The error responses of an operation, one for each status, with an example of each code."""
    responses: dict[int | str, dict[str, Any]] = {}
    for code in codes:
        meaning = ERRORS[code]
        response = responses.setdefault(meaning.status, _no_examples_yet(meaning.status))
        response["description"] = " · ".join(filter(None, (response["description"], meaning.title)))
        response["content"][CONTENT_TYPE]["examples"][code.value] = {
            "value": {
                "type": f"urn:busbar:error:{code}",
                "title": meaning.title,
                "status": meaning.status,
                "detail": meaning.detail,
                "code": code.value,
                "id": "01KAVSFC3C8Q6T2V5M8R4N7W1X",
                "retryable": bool(meaning.retryable),
                "executed": meaning.executed,
            }
        }
    return responses


def define(document: dict[str, Any], model: type[BaseModel], mode: Literal["validation", "serialization"]) -> None:
    """Define a model, and those that it uses, in a document: FastAPI does not see what is only referred to."""
    _, models = models_json_schema([(model, mode)], ref_template=REFERENCE)
    document.setdefault("components", {}).setdefault("schemas", {}).update(models["$defs"])


def _no_examples_yet(status: int) -> dict[str, Any]:
    content = {CONTENT_TYPE: {"schema": {"$ref": REFERENCE.format(model="Problem")}, "examples": {}}}
    response: dict[str, Any] = {"description": "", "content": content}
    if status in (429, 503):
        response["headers"] = {"Retry-After": {"description": "In seconds.", "schema": {"type": "integer"}}}
    return response
