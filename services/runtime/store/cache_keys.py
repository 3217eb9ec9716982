"""Under which names the cache keeps what it keeps, and what a flush is of."""

import hashlib
from dataclasses import dataclass
from typing import Final

PREFIX: Final = "busbar:v1:cache:"

TALLIES: Final = PREFIX + "tallies"
"""A set of the names of all tallies."""


@dataclass(frozen=True, slots=True)
class CacheScope:
    """What a flush is of: everything, one server, or one tool (or resource, by its URI) of a server."""

    server: str | None = None
    target: str | None = None


EVERYTHING: Final = CacheScope()


def generation(scope: CacheScope) -> str:
    """Return where the generation of a scope is: any text; an entry is valid as long as it has not changed.

    One that has been lost is made anew, never as it was: what was written under it is invalid then.
    """
    if scope.server is None:
        return PREFIX + "generation"
    if scope.target is None:
        return f"{PREFIX}generation:{scope.server}"
    return f"{PREFIX}generation:{scope.server}:{_short(scope.target)}"


def generations(server: str, target: str) -> tuple[str, str, str]:
    """Return the generations that an entry of a tool depends on: of all, its server's, its own."""
    return (
        generation(EVERYTHING),
        generation(CacheScope(server)),
        generation(CacheScope(server, target)),
    )


def tally(server: str, target: str) -> str:
    """Return where the live entries of a tool are counted: a sorted set of entries by when they end to be fresh.

    Milliseconds since 1970 by the store's clock.
    """
    return f"{PREFIX}tally:{server}:{_short(target)}"


def tallies_of(server: str) -> str:
    """Return what the names of all tallies of a server begin with."""
    return f"{PREFIX}tally:{server}:"


def entry(digest: str) -> str:
    """Return where an answer is, by the digest of its key."""
    return f"{PREFIX}entry:{digest}"


def lead(digest: str) -> str:
    """Return where it is said that somebody fetches the answer of this key."""
    return f"{PREFIX}lead:{digest}"


def _short(target: str) -> str:
    """A tool's name or a URI may hold anything, and be long."""
    return hashlib.sha256(target.encode()).hexdigest()[:32]
