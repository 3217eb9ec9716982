"""What the orchestrator's document says beyond what FastAPI finds out: the body of a query, and the key."""

from fastapi import FastAPI

from bus_schemas.queries import Query
from services.runtime.openapi import REFERENCE, define

QUERY_BODY = {
    "required": True,
    "content": {"application/json": {"schema": {"$ref": REFERENCE.format(model="Query")}}},
}


def complete(app: FastAPI) -> None:
    """Add to the app's document the key, and the query, which FastAPI does not see: it reads no body, we do."""
    document = app.openapi()
    define(document, Query, "validation")
    document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    for path, operations in document["paths"].items():
        if path.startswith("/v1/"):
            for operation in operations.values():
                operation["security"] = [{"key": []}]
