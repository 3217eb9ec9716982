"""The private part: how commands and URLs are read, what is expanded, and what cannot be meant."""

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.config.connections import Connection, load_config, load_connection
from services.runtime.config.errors import ConfigError
from services.runtime.config.expansion import UnsetVariableError, expand

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "busbar.yaml"


def connection(path: Path, keys: str, **environ: str) -> Connection:
    path.write_text(f"servers: {{a: {{{keys}}}}}")
    return load_config(path, environ).connections["a"]


def problem(path: Path, keys: str, **environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        connection(path, keys, **environ)
    (line,) = caught.value.problems
    return line


def test_the_default_configuration_starts_both_examples() -> None:
    policy, connections = load_config(REPOSITORY / "busbar.yaml", {})
    assert policy.servers.keys() == connections.keys()
    assert connections["database_mcp"].transport == "stdio"
    assert connections["database_mcp"].command == (sys.executable, "-m", "examples.database_mcp")
    assert connections["product_metadata_mcp"].transport == "auto"
    assert connections["product_metadata_mcp"].command[-2:] == ("--port", "8002")
    assert connections["product_metadata_mcp"].url == "http://127.0.0.1:8002/mcp"


@pytest.mark.parametrize(
    ("keys", "command"),
    [
        ("command: [node, server.js]", ("node", "server.js")),
        ("command: npx, args: [-y, thing]", ("npx", "-y", "thing")),
        ("command: [npx, -y], args: [thing]", ("npx", "-y", "thing")),
        ("command: /opt/my server/run", ("/opt/my server/run",)),
        ("command: python, args: [-m, python]", (sys.executable, "-m", "python")),
        ("command: [python3]", ("python3",)),
    ],
)
def test_a_command_is_a_program_and_its_arguments(path: Path, keys: str, command: tuple[str, ...]) -> None:
    assert connection(path, keys).command == command


def test_a_command_runs_in_the_folder_of_the_file_unless_cwd_says_otherwise(path: Path) -> None:
    assert connection(path, "command: x").cwd == path.parent
    assert connection(path, "command: x, cwd: sub").cwd == path.parent / "sub"
    assert connection(path, "command: x, cwd: /srv").cwd == Path("/srv")


@pytest.mark.parametrize(
    ("keys", "transport"),
    [
        ("command: x", "stdio"),
        ("url: 'http://h/'", "auto"),
        ("url: 'http://h/', transport: http", "http"),
        ("url: 'https://h/', command: x, transport: sse", "sse"),
    ],
)
def test_the_transport_follows_from_the_keys(path: Path, keys: str, transport: str) -> None:
    assert connection(path, keys).transport == transport


def test_the_type_that_a_desktop_client_gives_a_url_is_no_transport(path: Path) -> None:
    path.write_text("mcpServers: {a: {type: sse, url: 'http://h/sse', timeout: 60, autoApprove: [x]}}")
    assert load_config(path, {}).connections["a"].transport == "auto"


def test_private_values_are_expanded_everywhere(path: Path) -> None:
    keys = """url: '${BASE}/mcp', headers: {X-Key: 'k ${KEY}'}, command: ['${PROGRAM}', '--x=${NONE:-default}'],
        cwd: '${FOLDER}', env: {TOKEN: '${KEY}'},
        oauth: {token_url: '${BASE}/token', client_id: me, client_secret: '${KEY}', scope: read}"""
    environ = {"BASE": "https://h:8443", "KEY": "s3cret", "PROGRAM": "run", "FOLDER": "/srv"}
    made = connection(path, keys, **environ)
    assert made.url == "https://h:8443/mcp"
    assert made.headers == {"x-key": "k s3cret"}
    assert made.command == ("run", "--x=default")
    assert made.cwd == Path("/srv")
    assert made.env == {"TOKEN": "s3cret"}
    assert made.oauth is not None
    assert made.oauth.model_dump() == {
        "token_url": "https://h:8443/token",
        "client_id": "me",
        "client_secret": "s3cret",
        "scope": "read",
    }


def test_nothing_private_is_shown(path: Path) -> None:
    made = connection(
        path,
        """url: 'http://s3cret/', headers: {X-Key: s3cret}, command: [s3cret], env: {K: s3cret}, cwd: s3cret,
        oauth: {token_url: 'http://s3cret/', client_id: s3cret, client_secret: s3cret, scope: s3cret}""",
    )
    assert repr(made) == "Connection(transport='auto')"
    assert "s3cret" not in f"{made} {made.oauth!r}"


NOT_A_URL = "servers.a.url: must be a URL that begins with http:// or https:// and names a host"
HTTP = "url: 'http://h/'"


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ("priority: 3", "servers.a: needs a 'command' or a 'url'"),
        ("command: []", "servers.a: needs a 'command' or a 'url'"),
        ("command: '', url: 'http://h/'", "servers.a: the 'command' is empty"),
        (
            "command: python -m thing",
            "servers.a.command: no shell takes this apart; write a list, [program, argument, …], or use 'args'",
        ),
        ("command: [x, 8002]", "servers.a.command.1: must be text; put it in quotes"),
        ("command: {x: y}", "servers.a.command: must be a list"),
        ('command: ["x\\0"]', "servers.a.command.0: must not hold a NUL character"),
        ("command: x, env: {PORT: 8002}", "servers.a.env.PORT: must be text; put it in quotes"),
        ("command: x, env: {'A=s3cret': b}", "servers.a.env.…: a variable's name is not empty and holds no '='"),
        ("command: x, env: [s3cret]", "servers.a.env: must be a mapping of keys to values"),
        ("url: 'ftp://s3cret/'", NOT_A_URL),
        ("url: 'http:///x'", NOT_A_URL),
        ("url: 'http://h:s3cret/'", NOT_A_URL),
        ("url: 'http://h/ x'", NOT_A_URL),
        (f"{HTTP}, env: {{A: b}}", "servers.a: 'args', 'env' and 'cwd' need a 'command'"),
        ("command: x, headers: {A: b}", "servers.a: 'headers', 'oauth' and the transports http and sse need a 'url'"),
        ("command: x, transport: sse", "servers.a: 'headers', 'oauth' and the transports http and sse need a 'url'"),
        (f"{HTTP}, transport: stdio", "servers.a: a server with a 'url' is reached over http or sse, not stdio"),
        (f"{HTTP}, transport: s3cret", "servers.a.transport: must be 'http', 'sse' or 'stdio'"),
        (f"{HTTP}, headers: {{A: b, a: c}}", "servers.a.headers: names a header twice"),
        (
            f"{HTTP}, headers: {{Connection: c}}",
            "servers.a.headers.Connection: this header belongs to the connection and cannot be set",
        ),
        (
            'url: "http://h/", headers: {A: "s3\\ncret"}',
            "servers.a.headers.A: a header's value is printable ASCII, without line breaks",
        ),
        (f"{HTTP}, oauth: {{token_url: 'http://h/', client_id: a}}", "servers.a.oauth.client_secret: is missing"),
        (
            f"{HTTP}, oauth: {{token_url: 'http://h/', client_id: a, client_secret: b, client_secrt: s3cret}}",
            "servers.a.oauth: unknown key client_secrt; the nearest known one is client_secret",
        ),
        (
            f"{HTTP}, headers: {{Authorization: x}}, oauth: {{token_url: 'http://h/', client_id: a, client_secret: b}}",
            "servers.a: 'oauth' sets the authorization header, 'headers' must not",
        ),
        ("command: x, env: {A: '${NONE}'}", "servers.a.env.A: the environment variable NONE is not set"),
        (
            "command: x, env: {A: 's3cret ${env:NONE}'}",
            "servers.a.env.A: a '${' is not followed by NAME} or NAME:-default} (for a plain '${' write '$${')",
        ),
    ],
)
def test_what_cannot_be_meant_is_told_without_the_value(path: Path, keys: str, told: str) -> None:
    assert problem(path, keys) == told


def test_a_mistake_in_the_policy_gives_no_connections_either(path: Path) -> None:
    assert (
        problem(path, "command: x, priority: 0") == "servers.a.priority: must be greater than or equal to 1 (it is 0)"
    )


def test_a_disabled_server_is_checked_but_needs_no_variables(path: Path) -> None:
    path.write_text("servers: {a: {disabled: true, command: x, env: {K: '${NONE}'}}, b: {command: x}}")
    for environ in ({}, {"NONE_FILE": "/nowhere/at/all"}):
        assert load_config(path, environ).connections.keys() == {"b"}
    with pytest.raises(ConfigError, match=r"servers\.a: is disabled"):
        load_connection(path, "a", {})
    assert problem(path, "disabled: true, command: [3]") == "servers.a.command.0: must be text; put it in quotes"


def test_one_server_needs_only_its_own_variables(path: Path) -> None:
    path.write_text("servers: {a: {command: x, env: {K: '${KEY}'}}, b: {command: x, env: {K: '${NONE}'}}}")
    assert load_connection(path, "a", {"KEY": "k"}).env == {"K": "k"}
    with pytest.raises(ConfigError, match="NONE"):
        load_config(path, {"KEY": "k"})
    with pytest.raises(ConfigError, match="c is not a configured server"):
        load_connection(path, "c", {})


def test_a_url_or_a_command_from_elsewhere_takes_the_place_of_the_files(path: Path) -> None:
    path.write_text(
        "servers: {a: {command: x, args: [y], env: {K: k}, url: '${NONE}', headers: {H: h}, transport: sse}}"
    )
    reached = load_connection(path, "a", {}, url="http://h:8003/mcp")
    assert (reached.url, reached.transport, reached.headers, reached.command, reached.env) == (
        "http://h:8003/mcp",
        "sse",
        {"h": "h"},
        (),
        {},
    )
    run = load_connection(path, "a", {}, command=["python", "${LITERAL}"])
    assert (run.url, run.transport, run.command, run.env) == (None, "stdio", (sys.executable, "${LITERAL}"), {"K": "k"})
    assert load_connection(path, "new", {}, command=["z"]).command == ("z",)


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("${A}", "1"),
        ("x${A}y${A}", "x1y1"),
        ("${EMPTY}", ""),
        ("${EMPTY:-d}", "d"),
        ("${NONE:-}", ""),
        ("${A:-d}", "1"),
        ("$${A}", "${A}"),
        ("$A $", "$A $"),
        ("${NESTED}", "${A}"),
    ],
)
def test_references_are_expanded_once(text: str, expanded: str) -> None:
    assert expand(text, {"A": "1", "EMPTY": "", "NESTED": "${A}"}) == expanded


@pytest.mark.parametrize(
    ("environ", "text", "expanded"),
    [
        ({}, "Bearer ${KEY}", "Bearer s3cret"),
        ({}, "${KEY:-d}", "s3cret"),
        ({"KEY": "set"}, "${KEY}", "set"),
        ({"KEY": ""}, "${KEY}", ""),
        ({"KEY": ""}, "${KEY:-d}", "d"),
        ({}, "${OTHER:-d}", "d"),
        ({"KEY_FILE": ""}, "${KEY:-d}", "d"),
    ],
)
def test_a_variable_that_is_not_set_comes_from_the_first_line_of_its_file(
    tmp_path: Path, environ: dict[str, str], text: str, expanded: str
) -> None:
    file = tmp_path / "key"
    file.write_text(" s3cret \r\nsecond line\n")
    assert expand(text, {"KEY_FILE": str(file), **environ}) == expanded


@pytest.mark.parametrize("default", ["", ":-d"])
@pytest.mark.parametrize("content", [None, b"\xff s3cret"])
def test_a_file_that_cannot_be_read_is_told_by_its_variable_alone(
    path: Path, tmp_path: Path, content: bytes | None, default: str
) -> None:
    file = tmp_path / "s3cret-name"
    if content is not None:
        file.write_bytes(content)
    keys = f"url: 'http://h/', headers: {{X-Key: '${{KEY{default}}}'}}"
    told = "the file that the environment variable KEY_FILE names cannot be read"
    assert problem(path, keys, KEY_FILE=str(file)) == f"servers.a.headers.X-Key: {told}"


@pytest.mark.parametrize("text", ["${", "${}", "${1}", "${A-b}", "${env:A}", "${A:-${B}}", "${A B}"])
def test_what_begins_like_a_reference_and_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not followed by"):
        expand(text, {"A": "1", "B": "2"})


names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,20}", fullmatch=True)
plain = st.text().filter(lambda text: "$" not in text)


@given(names, st.text(), plain, plain)
def test_a_variables_value_arrives_unchanged(name: str, value: str, before: str, after: str) -> None:
    assert expand(f"{before}${{{name}}}{after}", {name: value}) == before + value + after


@given(plain)
def test_a_text_without_a_reference_is_left_alone(text: str) -> None:
    assert expand(text, {}) == text


@given(names, plain)
def test_an_unset_variable_is_named_and_the_text_around_it_is_not(name: str, around: str) -> None:
    with pytest.raises(UnsetVariableError) as caught:
        expand(f"{around}${{{name}}}", {})
    assert str(caught.value) == f"the environment variable {name} is not set"
