"""What the orchestrator's document says beyond what FastAPI finds out: the body of a query, and the key."""

from fastapi import FastAPI

from bus_schemas.queries import Query
from services.runtime.openapi import REFERENCE, define

QUERY_BODY = {
    "required": True,
    "content": {"application/json": {"schema": {"$ref": REFERENCE.format(model="Query")}}},
}

IDEMPOTENCY_KEY = "idempotency-key"
IDEMPOTENCY_PARAMETER = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Any text of the caller's. For 24 hours the same query with the same key runs once: a repetition "
    "gets what the first one was told, also an error of a call that may have run, with the header "
    "`idempotency-replayed: true`.",
    "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
}


def complete(app: FastAPI) -> None:
    """Add to the app's document the key, and the query, which FastAPI does not see: it reads no body, we do."""
    document = app.openapi()
    define(document, Query, "validation")
    document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    for path, operations in document["paths"].items():
        if path.startswith(("/v1/", "/servers/")):
            for operation in operations.values():
                operation["security"] = [{"key": []}]
