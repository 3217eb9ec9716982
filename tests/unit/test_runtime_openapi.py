"""The document of a bare service says of its probes what they answer."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import FastAPI

from services.runtime.http import create_service
from services.runtime.http_settings import Names
from services.runtime.lifecycle import Lifecycle
from services.runtime.metrics import new_registry


@pytest.fixture
def document() -> Any:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
        yield {}

    return create_service("Test", lifespan=lifespan, life=Lifecycle(), registry=new_registry(), names=Names()).openapi()


def responses(document: Any, path: str) -> Any:
    return document["paths"][path]["get"]["responses"]


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
def test_every_probe_declares_what_a_foreign_page_or_host_is_told(document: Any, path: str) -> None:
    told = responses(document, path)
    assert list(told["403"]["content"]["application/problem+json"]["examples"]) == ["forbidden"]
    assert list(told["421"]["content"]["application/problem+json"]["examples"]) == ["misdirected_request"]


def test_metrics_are_declared_as_the_texts_they_are(document: Any) -> None:
    content = responses(document, "/metrics")["200"]["content"]
    assert set(content) == {"text/plain", "application/openmetrics-text"}
    assert all(one["schema"] == {"type": "string"} for one in content.values())


def test_a_service_that_is_not_ready_declares_its_answer(document: Any) -> None:
    not_ready = responses(document, "/readyz")["503"]["content"]["application/json"]["schema"]
    assert not_ready["type"] == "object"
    assert not_ready["additionalProperties"] == {"type": "string"}


def test_everything_that_the_document_refers_to_is_in_it(document: Any) -> None:
    schemas = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert "#/components/schemas/Problem" in set(references(document)) <= schemas


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for child in node.values():
            yield from references(child)
    elif isinstance(node, list):
        for child in node:
            yield from references(child)
