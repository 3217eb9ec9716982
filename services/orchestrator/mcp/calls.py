"""Tool calls, resource reads, prompts and completions: a request of MCP → a query → its result."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from bus_schemas.queries import MAX_TIMEOUT_MS, CacheMode, Query
from services.orchestrator.admission import Admission
from services.orchestrator.context import Context
from services.orchestrator.mcp.directory import Directory, Target
from services.orchestrator.mcp.eras import RESERVED, Era
from services.orchestrator.mcp.failures import invalid_arguments, not_found, rpc_error
from services.orchestrator.mcp.jsonrpc import INVALID_PARAMS, RpcError, RpcRequest
from services.orchestrator.query import Failure, QueryService
from services.orchestrator.reading import ReadQuery
from services.runtime.config.policy import Policy
from services.runtime.errors import AmbiguousToolError, InvalidArgumentsError, OverloadedError
from services.runtime.problems import problem_body

KINDS: Final = {"tools/call": "tool", "resources/read": "resource", "prompts/get": "prompt"}

_LONGEST_NAME: Final = 1024
_LONGEST_URI: Final = 8192
_LEAST_MS: Final = 30_000
_MARGIN_MS: Final = 5_000
"""What a call may take beyond its server's own time limit: that limit speaks first, also after a wait for a slot."""
_NOT_TOLD: Final = frozenset({"progressToken", "traceparent", "tracestate"})
"""Of a caller's `_meta`: what each hop has of its own."""
_NOTHING_ASKED: Final[Mapping[str, Any]] = {
    name: field.get_default(call_default_factory=True, validated_data={}) for name, field in Query.model_fields.items()
}
"""A query's fields as they are by default, which the model would copy one by one for each."""


class Asked(msgspec.Struct, frozen=True, eq=False):
    """What a request of MCP asks, in our words."""

    method: str
    read: ReadQuery
    kind: str
    """`tool`, `resource` or `prompt`."""
    name: str
    """As the caller calls it."""


class Calls:
    """Turns requests into queries, and what becomes of them into what the caller's era knows."""

    def __init__(self, policy: Policy, directory: Directory, queries: QueryService, admission: Admission) -> None:
        self._policy = policy
        self._directory = directory
        self._queries = queries
        self._admission = admission

    def read(self, request: RpcRequest, server: str | None, era: Era, client: Mapping[str, Any]) -> Asked:
        """Return what a request asks.

        Args:
            request: `tools/call`, `resources/read`, `prompts/get` or `completion/complete`.
            server: the only one that is asked, by its own names; None: any, by names of `/mcp`.
            era: the caller's.
            client: what servers are told of the caller, in the form of a `_meta` of 2026-07-28.

        Raises:
            RpcError: the request is malformed, or nobody has what it asks for.
        """
        told = {name: value for name, value in request.meta.items() if not name.startswith(RESERVED)}
        for name in _NOT_TOLD:
            told.pop(name, None)
        meta = msgspec.json.encode({**told, **client})
        if request.method == "completion/complete":
            return self._read_completion(request, server, era, meta)
        kind = KINDS[request.method]
        if kind == "resource":
            name = request.text("uri", _LONGEST_URI)
            target = self._resource(name, server, era)
            arguments: dict[str, Any] = {}
        else:
            name = request.text("name", _LONGEST_NAME)
            target = self._named(kind, name, server, era)
            arguments = request.members("arguments")
            if kind == "prompt" and not all(isinstance(value, str) for value in arguments.values()):
                raise RpcError(INVALID_PARAMS, "params.arguments of a prompt must be strings")
        responses, state = request.params.get("inputResponses"), request.params.get("requestState")
        if state is not None and not isinstance(state, str):
            raise RpcError(INVALID_PARAMS, "params.requestState must be a string")
        query = self._query(
            kind,
            target,
            arguments=arguments,
            input_responses=None if responses is None else request.members("inputResponses"),
            request_state=state,
        )
        read = ReadQuery(
            query,
            bytes(request.raw.arguments) if arguments else b"{}",
            None if responses is None else bytes(request.raw.input_responses),
            meta,
        )
        return Asked(request.method, read, kind, name)

    async def result(self, asked: Asked, context: Context, era: Era) -> bytes:
        """Return the server's own result.

        Raises:
            RpcError: there is none.
        """
        result = await self._result(asked, context)
        if not isinstance(result, Failure):
            return result
        if asked.method == "tools/call" and isinstance(result.error, InvalidArgumentsError):
            return invalid_arguments(result.error.errors)
        raise rpc_error(result, asked.kind, asked.name, era)

    async def _result(self, asked: Asked, context: Context) -> bytes | Failure:
        try:
            with self._admission.query():
                return await self._queries.result(asked.read, context)
        except OverloadedError as error:
            return Failure(error, self._queries.refuse(error, context.request_id, context.received_at).body)

    def _read_completion(self, request: RpcRequest, server: str | None, era: Era, meta: bytes) -> Asked:
        reference = RpcRequest(request.id, request.method, request.members("ref"), request.raw)
        argument = request.members("argument")
        if not isinstance(argument.get("name"), str) or not isinstance(argument.get("value"), str):
            raise RpcError(INVALID_PARAMS, "params.argument must have a name and a value")
        if reference.params.get("type") == "ref/prompt":
            kind, name = "prompt", reference.text("name", _LONGEST_NAME)
            target = self._named(kind, name, server, era)
        elif reference.params.get("type") == "ref/resource":
            kind, name = "resource", reference.text("uri", _LONGEST_URI)
            found = Target(server, name) if server is not None else self._directory.template(name)
            if found is None:
                raise not_found(kind, name, era)
            target = found
        else:
            raise RpcError(INVALID_PARAMS, "params.ref.type must be ref/prompt or ref/resource")
        members = b'"argument":' + bytes(request.raw.argument)
        if request.members("context"):
            members += b',"context":' + bytes(request.raw.context)
        # What is kept of a resource is no completion of it.
        query = self._query(kind, target, cache=CacheMode.BYPASS)
        return Asked(request.method, ReadQuery(query, b"{}", None, meta, members), kind, name)

    def _named(self, kind: str, name: str, server: str | None, era: Era) -> Target:
        target = Target(server, name) if server is not None else self._directory.named(name)
        if target is None:
            raise not_found(kind, name, era)
        return target

    def _resource(self, uri: str, server: str | None, era: Era) -> Target:
        if server is not None:
            return Target(server, uri)
        try:
            target = self._directory.resource(uri)
        except AmbiguousToolError as error:
            raise rpc_error(Failure(error, problem_body(error, "")), "resource", uri, era) from error
        if target is None:
            raise not_found("resource", uri, era)
        return target

    def _query(self, kind: str, target: Target, **more: Any) -> Query:
        """Return the query without checking again what has been checked; it is on the path of every call."""
        timeout_s = 0.0 if target.server is None else self._policy.of(target.server).timeout_s
        timeout_ms = min(MAX_TIMEOUT_MS, max(_LEAST_MS, int(timeout_s * 1000) + _MARGIN_MS))
        wanted = {kind: target.name, "server": target.server, "timeout_ms": timeout_ms}
        return Query.model_construct(**{**_NOTHING_ASKED, **wanted, **more})


def continued(asked: Asked, responses: bytes, state: str | None) -> Asked:
    """Return the same question with the answers to what its server has asked back.

    Args:
        asked: the question.
        responses: `inputResponses`, a JSON object.
        state: `requestState`, as the server gave it.
    """
    query = asked.read.query.model_copy(
        update={"input_responses": msgspec.json.decode(responses), "request_state": state}
    )
    return replace(asked, read=replace(asked.read, query=query, raw_input_responses=responses))
