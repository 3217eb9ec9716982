"""`busbar query`: one query over HTTP."""

import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import typer

from services.cli.answers import readable
from services.cli.arguments import ArgumentsError, is_ambiguous, parse_object, split_words, typed
from services.cli.errors import DONE, FAILED, CommandError, report
from services.cli.http_client import ask, pages
from services.cli.location import Endpoint, find_system
from services.cli.options import AsJson, StateDir
from services.runtime.text import harmless_json, one_line

_LISTS_TIMEOUT_S = 5.0
_BEYOND_DEADLINE_S = 5.0  # so that the gateway's own word about the deadline arrives


def query(
    *,
    server: Annotated[str, typer.Argument(metavar="SERVER", help="The server's name.", show_default=False)],
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TOOL key=value…",
            help="The tool, and its arguments. A value that is JSON (a number, true, null, [1, 2]) is taken as that, "
            "unless the tool wants text; the value '\"7\"', in JSON quotes, is always text.",
        ),
    ] = None,
    args: Annotated[
        str | None,
        typer.Option("--args", metavar="JSON", help="All arguments as one JSON object; - reads it from stdin."),
    ] = None,
    resource: Annotated[
        str | None, typer.Option(metavar="URI", help="Read this resource instead of calling a tool.")
    ] = None,
    prompt: Annotated[
        str | None, typer.Option(metavar="NAME", help="Get this prompt instead; its arguments are text.")
    ] = None,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.001, max=300, help="How long to wait for the answer.")
    ] = 30,
    cache: Annotated[
        Literal["default", "bypass", "refresh"],
        typer.Option(help="bypass: neither read nor write the cache; refresh: call, then write it."),
    ] = "default",
    as_json: AsJson = False,
    state_dir: StateDir = None,
) -> int:
    """Ask a tool, a resource or a prompt of a server.

    Prints the result; with --json the whole answer. A result that the tool itself calls an error: status 1.

    Examples:

        busbar query product_metadata_mcp resolve_product alias=abracadabra
        busbar query database_mcp query --args '{"sql": "SELECT count(*) FROM orders"}'
        busbar query product_metadata_mcp --resource product-aliases://list
    """
    target = _target(list(words or []), resource=resource, prompt=prompt)
    arguments = _Arguments(args, target.words)
    endpoint = find_system(state_dir).need_orchestrator()
    body: dict[str, object] = {"server": server, target.kind: target.name}
    if target.kind == "tool":
        body["arguments"] = arguments.for_tool(endpoint, server, target.name)
    elif target.kind == "prompt":
        body["arguments"] = arguments.for_prompt()
    body |= {"timeout_ms": max(1, round(timeout * 1000)), "cache": cache}
    reply = ask(endpoint, "POST", "/v1/query", body=body, timeout_s=timeout + _BEYOND_DEADLINE_S)
    result = reply.document.get("result")
    if not isinstance(result, dict):
        raise CommandError("the answer has no result")
    print(harmless_json(reply.text) if as_json else readable(result))
    if sys.stdout.isatty() and sys.stderr.isatty():
        report(_origin(reply.document))
    return _status(result, str(reply.document.get("id")))


class _Target:
    """What is asked, and the words that are left for its arguments."""

    def __init__(self, kind: str, name: str, words: Sequence[str]) -> None:
        self.kind, self.name, self.words = kind, name, words


def _target(words: list[str], *, resource: str | None, prompt: str | None) -> _Target:
    if resource is not None and prompt is not None:
        raise typer.BadParameter("--resource and --prompt exclude each other")
    if resource is not None:
        if words:
            raise typer.BadParameter("a resource takes no arguments")
        return _Target("resource", resource, [])
    if prompt is not None:
        return _Target("prompt", prompt, words)
    if not words:
        raise typer.BadParameter("name a tool, or use --resource or --prompt")
    return _Target("tool", words[0], words[1:])


class _Arguments:
    """What the user gave as arguments, checked before anything is sent."""

    def __init__(self, text: str | None, words: Sequence[str]) -> None:
        if text is not None and words:
            raise typer.BadParameter("--args and key=value exclude each other")
        try:
            self._object = None if text is None else parse_object(sys.stdin.read() if text == "-" else text)
        except ArgumentsError as error:
            raise typer.BadParameter(f"--args is {error}") from None
        try:
            self._values = split_words(words)
        except ArgumentsError as error:
            raise typer.BadParameter(str(error)) from None

    def for_prompt(self) -> Mapping[str, object]:
        return self._values if self._object is None else self._object

    def for_tool(self, endpoint: Endpoint, server: str, tool: str) -> Mapping[str, object]:
        if self._object is not None:
            return self._object
        schema = _input_schema(endpoint, server, tool) if is_ambiguous(self._values) else {}
        return typed(self._values, schema)


def _input_schema(endpoint: Endpoint, server: str, tool: str) -> Mapping[str, Any]:
    """Return the tool's `inputSchema`, or nothing if it is not listed: the query then tells why."""
    for page in pages(endpoint, "/v1/tools", params={"server": server, "q": tool}, timeout_s=_LISTS_TIMEOUT_S):
        for item in page.get("tools") or []:
            definition = item.get("tool") or {}
            if definition.get("name") == tool:
                schema = definition.get("inputSchema")
                return schema if isinstance(schema, dict) else {}
    return {}


def _origin(answer: Mapping[str, Any]) -> str:
    timing = answer.get("timing_ms")
    total = timing.get("total") if isinstance(timing, dict) else None
    return f"· {answer.get('server')} {answer.get('version')} · cache: {answer.get('cache')} · {total} ms"


def _status(result: Mapping[str, Any], request_id: str) -> int:
    if result.get("isError") is True:
        report(f"the tool reports an error (id {one_line(request_id)})")
        return FAILED
    if result.get("resultType") == "input_required":
        report(f"the server asks for input before it goes on; continue as an MCP client (id {one_line(request_id)})")
        return FAILED
    return DONE
