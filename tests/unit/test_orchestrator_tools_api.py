"""Tools as plain HTTP: what is told of a tool's result, and of all of a server's tools."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import jsonschema_rs
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from openapi_spec_validator import OpenAPIV31SpecValidator, validate

from services.orchestrator.plain import plain_query, plain_reply
from services.orchestrator.query import Reply
from services.orchestrator.state import OrchestratorState
from services.orchestrator.tool_document import tool_document
from services.orchestrator.tools_api import router
from services.runtime.auth.principals import Principal
from services.runtime.config.policy import ServerPolicy
from services.runtime.errors import InvalidJsonError, InvalidRequestError, UpstreamError
from services.runtime.http import create_service
from services.runtime.http_settings import Names
from services.runtime.lifecycle import Lifecycle
from tests.support.asgi import asgi_client
from tests.support.mcp_servers.sdk_server import build_server
from tests.unit.test_orchestrator_query import Gateway

pytestmark = pytest.mark.anyio

ADD: dict[str, Any] = {
    "name": "add",
    "title": "Add",
    "description": "Adds two numbers.",
    "inputSchema": {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/Number"}, "b": {"$ref": "#/$defs/Number"}},
        "required": ["a", "b"],
        "$defs": {"Number": {"type": "number"}},
    },
    "outputSchema": {"type": "object", "properties": {"sum": {"type": "number"}}},
}


@asynccontextmanager
async def serving(
    gateway: Gateway, *, servers: tuple[str, ...] = ("*",), tools: tuple[str, ...] = ("*",)
) -> AsyncIterator[httpx.AsyncClient]:
    caller = Principal(id="c", scopes=frozenset({"query"}), servers=servers, tools=tools)
    life = Lifecycle()

    async def authenticate(_authorization: str | None, _header_names: object) -> Principal:
        return caller

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
        async with life:
            state = OrchestratorState(gateway.queries, gateway.admission, gateway.lists, authenticate)
            yield {"orchestrator": state, "readiness": lambda: None}

    app = create_service("Test", lifespan=lifespan, life=life, registry=gateway.registry, names=Names())
    app.include_router(router)
    async with asgi_client(app) as http:
        yield http


async def with_tools(*tools: dict[str, Any]) -> Gateway:
    gateway = Gateway(a=ServerPolicy(), away=ServerPolicy())
    await gateway.announced.join("a", "1.2.0", tools=tools)
    return gateway


@pytest.mark.parametrize(
    ("result", "given"),
    [
        ({"content": [], "structuredContent": {"sum": 5}}, {"sum": 5}),
        ({"content": [{"type": "text", "text": "5"}], "structuredContent": [5], "resultType": "complete"}, [5]),
        ({"content": [], "structuredContent": None}, []),
        ({"content": [{"type": "text", "text": "5"}]}, [{"type": "text", "text": "5"}]),
    ],
)
async def test_the_answer_is_the_structured_content_or_else_the_content(result: Any, given: Any) -> None:
    gateway = await with_tools(ADD)
    gateway.workers.result = json.dumps(result).encode()
    async with serving(gateway) as http:
        answer = await http.post("/servers/a/tools/add?timeout_ms=1234", json={"a": 2, "b": 3})
    assert (answer.status_code, answer.json()) == (200, given)
    [call] = gateway.workers.calls
    assert json.loads(call.body) == {"method": "tools/call", "params": {"name": "add", "arguments": {"a": 2, "b": 3}}}


@pytest.mark.parametrize("result", [{"isError": True}, {"resultType": "input_required", "requestState": "s"}])
async def test_a_tool_that_failed_or_asks_back_is_no_success(result: dict[str, Any]) -> None:
    gateway = await with_tools(ADD)
    content = [{"type": "text", "text": "I cannot."}]
    gateway.workers.result = json.dumps({"content": content, **result}).encode()
    async with serving(gateway) as http:
        answer = await http.post("/servers/a/tools/add", json={"a": 2, "b": 3})
    problem = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert (problem["code"], problem["content"], problem["executed"]) == ("tool_error", content, "maybe")


@pytest.mark.parametrize(
    ("body", "status", "errors"),
    [
        (b'{"a": 2}', 422, [{"pointer": "", "keyword": "required"}]),
        (b'{"a": 2, "b": "x"}', 422, [{"pointer": "/b", "keyword": "type"}]),
        (b"[]", 422, [{"pointer": "", "keyword": "type"}]),
        (b'{}, "cache": "bypass"', 400, None),
        (b'{"a": 2}, "server": "b"', 400, None),
        (b"", 400, None),
        (b'{"a": NaN}', 400, None),
    ],
)
async def test_wrong_arguments_are_told_as_places_in_the_body(body: bytes, status: int, errors: Any) -> None:
    gateway = await with_tools(ADD)
    async with serving(gateway) as http:
        answer = await http.post("/servers/a/tools/add", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json().get("errors")) == (status, errors)
    assert gateway.workers.calls == []


@given(
    arguments=st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=4),
    tool=st.text(max_size=9),
)
def test_arguments_stay_arguments_whatever_they_hold(arguments: dict[str, Any], tool: str) -> None:
    body = json.dumps(arguments).encode()
    assert json.loads(plain_query("a", tool, body, 5)) == {
        "server": "a", "tool": tool, "timeout_ms": 5, "arguments": arguments,
    }  # fmt: skip


@pytest.mark.parametrize("body", [b"7", b"null", b"{} {}", b'{}, "x": {}'])
def test_what_is_no_object_makes_no_query(body: bytes) -> None:
    with pytest.raises((InvalidRequestError, InvalidJsonError)):
        plain_query("a", "t", body, 5)


async def test_a_problem_that_is_not_about_arguments_is_passed_on_as_it_is() -> None:
    gateway = await with_tools(ADD)
    gateway.workers.fate = lambda _: UpstreamError()
    async with serving(gateway) as http:
        answer = await http.post("/servers/a/tools/add", json={"a": 2, "b": 3})
        unknown = await http.post("/servers/a/tools/nothing%2Fhere", json={})
    assert (answer.status_code, answer.json()["code"]) == (502, "upstream_error")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "tool_not_found")
    assert plain_reply(Reply(503, b'{"code":"overloaded"}', "t", {"retry-after": "1"})).headers == {"retry-after": "1"}


async def test_the_document_lists_what_the_key_may_call_and_nothing_else() -> None:
    gateway = await with_tools(ADD, {"name": "wipe"}, {"name": "x/{y} z"})
    async with serving(gateway, tools=("add", "x*")) as http:
        document = (await http.get("/servers/a/openapi.json")).json()
        assert list(document["paths"]) == ["/tools/add", "/tools/x%2F%7By%7D%20z"]
        called = await http.post(f"{document['servers'][0]['url']}/tools/x%2F%7By%7D%20z", json={})
        forbidden = await http.post("/servers/a/tools/wipe", json={})
    assert (called.status_code, forbidden.status_code) == (200, 403)
    assert (document["info"]["title"], document["info"]["version"]) == ("a", "1.2.0")
    operation = document["paths"]["/tools/add"]["post"]
    assert (operation["operationId"], operation["summary"]) == ("add", "Add")


@pytest.mark.parametrize(
    ("path", "code"), [("a", "forbidden"), ("nobody", "server_not_found"), ("away", "server_unavailable")]
)
async def test_a_server_that_cannot_be_listed_is_told_by_its_code(path: str, code: str) -> None:
    gateway = await with_tools(ADD)
    async with serving(gateway, servers=("nobody", "away")) as http:
        assert (await http.get(f"/servers/{path}/openapi.json")).json()["code"] == code


async def test_the_document_of_a_real_server_is_one() -> None:
    tools = {
        tool.name: tool.model_dump(by_alias=True, exclude_none=True) for tool in await build_server(None).list_tools()
    }
    validate(tool_document("a", "1.0.0", tools), cls=OpenAPIV31SpecValidator)
    assert len(tools) > 5


def _schema_in(document: dict[str, Any], tool: str) -> dict[str, Any]:
    """Return the schema of a tool's arguments, as a reader of the document sees it."""
    schema = document["paths"][f"/tools/{tool}"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    return {"components": document["components"], **schema}


def test_references_into_a_schema_hold_in_the_document() -> None:
    tree = {
        "type": "object",
        "properties": {"$ref": {"type": "string"}, "child": {"$ref": "#"}},
        "default": {"child": {"$ref": "#/x"}},
    }
    document = tool_document("a", "1.0.0", {"add": ADD, "tree": {"name": "tree", "inputSchema": tree}})
    validate(document, cls=OpenAPIV31SpecValidator)
    add = jsonschema_rs.validator_for(_schema_in(document, "add"), offline=True)
    assert add.is_valid({"a": 1, "b": 2})
    assert not add.is_valid({"a": 1, "b": "x"})
    grown = jsonschema_rs.validator_for(_schema_in(document, "tree"), offline=True)
    assert grown.is_valid({"child": {"child": {"$ref": "x"}}})
    assert not grown.is_valid({"child": {"child": {"$ref": 7}}})


@pytest.mark.parametrize(
    "schema",
    [
        None,
        7,
        {"$ref": "https://elsewhere.example/schema"},
        {"$ref": 7},
        {"$ref": "#anchor"},
        {"$id": "urn:x", "type": "object"},
        {"properties": {"a": 7}},
        json.loads('{"items":' * 100 + "{}" + "}" * 100),
    ],
)
def test_a_schema_that_cannot_be_moved_is_any_object(schema: Any) -> None:
    document = tool_document("a", "1.0.0", {"t": {"name": "t", "inputSchema": schema}})
    validate(document, cls=OpenAPIV31SpecValidator)
    told = document["paths"]["/tools/t"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert told == {"type": "object"}


def test_tools_whose_names_look_alike_as_keys_have_schemas_of_their_own() -> None:
    tools = {name: {"name": name, "inputSchema": {"type": "object", "title": name}} for name in ("a b", "a+b", "a_b")}
    document = tool_document("a", "1.0.0", tools)
    validate(document, cls=OpenAPIV31SpecValidator)
    titles = {one["title"] for key, one in document["components"]["schemas"].items() if key.startswith("a_b")}
    assert titles == set(tools)
