"""Who asks, and which servers, tools, resources and prompts they may use."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import translate
from typing import Literal

Scope = Literal["query", "admin"]

_NOTHING = re.compile(r"(?!)")


@dataclass(frozen=True, slots=True)
class Grant:
    """The right to what matches `tools` of the servers that match `servers`; patterns as a principal's."""

    servers: tuple[str, ...]
    tools: tuple[str, ...] = ("*",)
    _servers: re.Pattern[str] = field(init=False, repr=False, compare=False)
    _tools: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Compiled here, once, since every query and every line of a catalogue asks.
        object.__setattr__(self, "_servers", _any_of(self.servers))
        object.__setattr__(self, "_tools", _any_of(self.tools))

    def covers_server(self, server: str) -> bool:
        """Return whether it is a right to anything of `server`."""
        return self._servers.match(server) is not None

    def covers_all_of(self, server: str) -> bool:
        """Return whether it is a right to all of `server`, whatever it is called."""
        return "*" in self.tools and self.covers_server(server)

    def covers(self, server: str, name: str) -> bool:
        """Return whether it is a right to `name` of `server`."""
        return self._servers.match(server) is not None and self._tools.match(name) is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class Principal:
    """One caller and its rights. Patterns are globs: `*`, `?` and `[…]`, in which `*` crosses `/` too."""

    id: str
    scopes: frozenset[Scope]
    servers: tuple[str, ...]
    tools: tuple[str, ...]  # match a tool's or prompt's name, or a resource's URI
    rate_per_s: float | None = None  # None: no limit
    max_in_flight: int | None = None
    beside: tuple[Grant, ...] = ()
    """Rights whose servers and tools go together, as the scopes of a token give them."""
    _grants: tuple[Grant, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_grants", (Grant(self.servers, self.tools), *self.beside))

    def may_use_server(self, server: str) -> bool:
        """Return whether anything of `server` may be used."""
        return any(grant.covers_server(server) for grant in self._grants)

    def usable(self, server: str, names: Iterable[str]) -> list[str]:
        """Return those of the names of one kind, all of `server`, that `may_use` allows; long lists are worth it."""
        if any(grant.covers_all_of(server) for grant in self._grants):
            return list(names)
        return [name for name in names if self.may_use(server, name)]

    def may_use(self, server: str, name: str) -> bool:
        """Return whether the tool or prompt `name`, or the resource at the URI `name`, of `server` may be used."""
        return any(grant.covers(server, name) for grant in self._grants)


def _any_of(patterns: Iterable[str]) -> re.Pattern[str]:
    translated = "|".join(translate(pattern) for pattern in patterns)
    return re.compile(translated) if translated else _NOTHING


_EVERYTHING = ("*",)

# A caller without a key, where that is allowed.
ANONYMOUS = Principal(id="anonymous", scopes=frozenset({"query"}), servers=_EVERYTHING, tools=_EVERYTHING)
# A caller on the bus without a key: that it may publish there is its right.
BUS = Principal(id="bus", scopes=frozenset({"query"}), servers=_EVERYTHING, tools=_EVERYTHING)
RESERVED_IDS = frozenset({ANONYMOUS.id, BUS.id})
