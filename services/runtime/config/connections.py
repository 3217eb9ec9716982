"""How each server is reached: commands, URLs and credentials, for the worker and the supervisor only."""

import os
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from services.runtime.config.document import PRIVATE_KEYS, read_document
from services.runtime.config.errors import ConfigError, key_path, validation_problems
from services.runtime.config.expansion import UnsetVariableError, expand
from services.runtime.config.file import checked_policy, config_path
from services.runtime.config.headers import header_value, sent_header
from services.runtime.config.policy import Policy

Transport = Literal["http", "sse", "stdio"]
"""What the file may name: streamable HTTP, the old HTTP+SSE, or the pipes of a process."""


def _url(url: str) -> str:
    refusal = ValueError("must be a URL that begins with http:// or https:// and names a host")
    try:
        parts = urlsplit(url)
        valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise refusal from None
    if not valid or any(character.isspace() or not character.isprintable() for character in url):
        raise refusal
    return url


def _program_and_arguments(command: object) -> object:
    if not isinstance(command, str):
        return command
    first, *rest = command.split() or [""]
    if rest and "/" not in first and "\\" not in first:
        raise ValueError("no shell takes this apart; write a list, [program, argument, …], or use 'args'")
    return [command]


def _word(word: str) -> str:
    if "\0" in word:
        raise ValueError("must not hold a NUL character")
    return word


def _variable_name(name: str) -> str:
    if not name or "=" in name or "\0" in name:
        raise ValueError("a variable's name is not empty and holds no '='")
    return name


def _each_header_once(headers: object) -> object:
    if isinstance(headers, dict) and len({str(name).lower() for name in headers}) != len(headers):
        raise ValueError("names a header twice")
    return headers


_Url = Annotated[str, AfterValidator(_url)]
_Word = Annotated[str, AfterValidator(_word)]
_Command = Annotated[list[_Word], BeforeValidator(_program_and_arguments)]
_Environment = dict[Annotated[str, AfterValidator(_variable_name)], _Word]
_HeaderName = Annotated[str, AfterValidator(sent_header)]
_HeaderValue = Annotated[str, AfterValidator(header_value)]
_Headers = Annotated[dict[_HeaderName, _HeaderValue], BeforeValidator(_each_header_once)]


class _Private(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)


class OAuth(_Private):
    """Client credentials with which a worker gets its own access token."""

    token_url: _Url = Field(repr=False)
    client_id: str = Field(repr=False, min_length=1)
    client_secret: str = Field(repr=False, min_length=1)
    scope: str | None = Field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class Connection:
    """How one server is reached. Nothing but the transport is ever shown."""

    transport: Transport | Literal["auto"]  # auto: streamable HTTP, or HTTP+SSE if that is what the URL speaks
    cwd: Path = field(repr=False)
    command: tuple[str, ...] = field(default=(), repr=False)  # program and arguments; with `url`: its own process
    url: str | None = field(default=None, repr=False)
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)  # names in lower case
    oauth: OAuth | None = field(default=None, repr=False)


class Config(NamedTuple):
    """Both parts of one reading of the file."""

    policy: Policy
    connections: Mapping[str, Connection]


class _PrivatePart(_Private):
    """The private keys of one server as the file has them, expanded."""

    command: _Command = []
    args: list[_Word] = []
    url: _Url | None = None
    transport: Transport | None = None
    cwd: _Word | None = None
    env: _Environment = {}
    headers: _Headers = {}
    oauth: OAuth | None = None

    @model_validator(mode="after")
    def _nothing_is_without_effect(self) -> Self:
        if not self.command and self.url is None:
            raise ValueError("needs a 'command' or a 'url'")
        if "command" in self.model_fields_set and not (self.command and self.command[0]):
            raise ValueError("the 'command' is empty")
        if not self.command and (self.args or self.env or self.cwd):
            raise ValueError("'args', 'env' and 'cwd' need a 'command'")
        if self.url is None and (self.headers or self.oauth or self.transport in {"http", "sse"}):
            raise ValueError("'headers', 'oauth' and the transports http and sse need a 'url'")
        if self.url is not None and self.transport == "stdio":
            raise ValueError("a server with a 'url' is reached over http or sse, not stdio")
        if self.oauth and "authorization" in self.headers:
            raise ValueError("'oauth' sets the authorization header, 'headers' must not")
        return self

    def connection(self, folder: Path) -> Connection:
        command = (*self.command, *self.args)
        if command and command[0] == "python":
            command = (sys.executable, *command[1:])
        return Connection(
            transport=self.transport or ("auto" if self.url else "stdio"),
            cwd=folder / (self.cwd or ""),
            command=command,
            url=self.url,
            env=self.env,
            headers=self.headers,
            oauth=self.oauth,
        )


def load_config(path: str | Path | None = None, environ: Mapping[str, str] = os.environ) -> Config:
    """Return the policy and the connections of all served servers, from one reading of the file.

    A disabled server is checked too, unless a variable that it uses is not set.

    Raises:
        ConfigError: a line for everything that is wrong; nothing is applied.
    """
    document = read_document(config_path(path, environ))
    policy = checked_policy(document)
    problems: list[str] = []
    connections: dict[str, Connection] = {}
    for name, entry in document.entries.items():
        disabled = policy.servers[name].disabled
        expansion = _Expansion(environ, (entry.section, name))
        keys = expansion.keys(entry.private)
        if disabled and expansion.lacks_variable:
            continue
        try:
            connection = _connection(document.path, expansion, keys)
        except ConfigError as error:
            problems += error.problems
            continue
        if not disabled:
            connections[name] = connection
    if problems:
        raise ConfigError(document.path, problems)
    return Config(policy.served(), connections)


def load_connection(
    path: str | Path | None,
    server: str,
    environ: Mapping[str, str] = os.environ,
    *,
    url: str | None = None,
    command: Sequence[str] = (),
) -> Connection:
    """Return the connection of one server; the variables of the others need not be set.

    Args:
        path: the file, as for `config_path`.
        server: the server's name.
        environ: what references are looked up in.
        url: reach it here instead; the file's `headers`, `oauth` and `transport` stay in force.
        command: run this instead; the file's `env` and `cwd` stay in force.

    Raises:
        ConfigError: the file is not valid, has no such server (unless `url` or `command` is given) or it is disabled.
    """
    document = read_document(config_path(path, environ))
    policy = checked_policy(document)
    entry = document.entries.get(server)
    if entry is None and not url and not command:
        raise ConfigError(document.path, [f"{key_path((server,))} is not a configured server"])
    if entry is not None and policy.servers[server].disabled:
        raise ConfigError(document.path, [f"{key_path((entry.section, server))}: is disabled"])
    expansion = _Expansion(environ, (entry.section if entry else "servers", server))
    kept = _keys_in_force(url=url, command=command)
    keys = expansion.keys({key: value for key, value in entry.private.items() if key in kept} if entry else {})
    if url:
        keys["url"] = url
    if command:
        keys["command"] = list(command)
    return _connection(document.path, expansion, keys)


def _keys_in_force(*, url: str | None, command: Sequence[str]) -> Collection[str]:
    """Return the private keys of the file that still mean something beside a `url` or `command` from elsewhere."""
    if not url and not command:
        return PRIVATE_KEYS
    to_reach_it = {"headers", "oauth", "transport"} if url else set()
    to_run_it = {"cwd", "env"} if command else set()
    return to_reach_it | to_run_it


class _Expansion:
    """Expands the private keys of one server and notes what is wrong, by key and variable."""

    def __init__(self, environ: Mapping[str, str], where: tuple[str, str]) -> None:
        self.where = where
        self.problems: list[str] = []
        self.lacks_variable = False
        self._environ = environ

    def keys(self, private: Mapping[str, object]) -> dict[str, object]:
        return {key: self._value(value, (*self.where, key)) for key, value in private.items()}

    def _value(self, value: object, where: tuple[object, ...]) -> object:
        if isinstance(value, dict):
            return {key: self._value(item, (*where, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self._value(item, (*where, index)) for index, item in enumerate(value)]
        if not isinstance(value, str):
            return value
        try:
            return expand(value, self._environ)
        except ValueError as error:
            self.problems.append(f"{key_path(where, private=True)}: {error}")
            self.lacks_variable |= isinstance(error, UnsetVariableError)
            return value


def _connection(path: Path, expansion: _Expansion, keys: Mapping[str, object]) -> Connection:
    if expansion.problems:
        raise ConfigError(path, expansion.problems)
    try:
        part = _PrivatePart.model_validate(keys)
    except ValidationError as error:
        problems = validation_problems(
            error, located=lambda inner: (*expansion.where, *inner), known=OAuth.model_fields, private=True
        )
        raise ConfigError(path, problems) from None
    return part.connection(path.parent)
