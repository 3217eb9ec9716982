"""What the OpenAPI document says beyond what FastAPI finds out: every error with an example, the body, the key."""

from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from bus_schemas.errors import ERRORS, ErrorCode, Problem
from bus_schemas.queries import Query
from services.runtime.problems import CONTENT_TYPE

_REFERENCE = "#/components/schemas/{model}"

QUERY_BODY = {
    "required": True,
    "content": {"application/json": {"schema": {"$ref": _REFERENCE.format(model="Query")}}},
}


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


def complete(app: FastAPI) -> None:
    """Add to the app's document the key, and the models that FastAPI does not see: it reads no body, we do."""
    document = app.openapi()
    _, models = models_json_schema([(Query, "validation"), (Problem, "serialization")], ref_template=_REFERENCE)
    components = document.setdefault("components", {})
    components.setdefault("schemas", {}).update(models["$defs"])
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    for path, operations in document["paths"].items():
        if path.startswith("/v1/"):
            for operation in operations.values():
                operation["security"] = [{"key": []}]


def _no_examples_yet(status: int) -> dict[str, Any]:
    content = {CONTENT_TYPE: {"schema": {"$ref": _REFERENCE.format(model="Problem")}, "examples": {}}}
    response: dict[str, Any] = {"description": "", "content": content}
    if status in (429, 503):
        response["headers"] = {"Retry-After": {"description": "In seconds.", "schema": {"type": "integer"}}}
    return response
