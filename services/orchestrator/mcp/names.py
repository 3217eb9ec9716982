"""What tools, prompts and resources are called in `/mcp`, where all servers share one name space (pure)."""

import base64
import hashlib
import re
from typing import Final

LONGEST_NAME: Final = 64
"""What the APIs of language models take."""

_SEPARATOR: Final = "__"
_HASH_CHARACTERS: Final = 10
_PREFIXED_URI: Final = re.compile(r"busbar\+([A-Za-z0-9_-]{1,64}):(.+)", re.DOTALL)


def plain_name(server: str, name: str) -> str | None:
    """Return `<server>__<name>`; None where that is too long, or does not tell where the server's name ends."""
    joined = server + _SEPARATOR + name
    return None if len(joined) > LONGEST_NAME or server.endswith("_") else joined


def hashed_name(server: str, name: str) -> str:
    """Return the beginning of `<server>__<name>` and ten characters of a hash over both: 64 characters at most."""
    digest = hashlib.sha256(f"{server}\0{name}".encode()).digest()
    suffix = base64.b32encode(digest).decode().lower()[:_HASH_CHARACTERS]
    return f"{(server + _SEPARATOR + name)[: LONGEST_NAME - _HASH_CHARACTERS - 1]}_{suffix}"


def shared_name(server: str, name: str) -> str:
    """Return what a tool or a prompt of a server is called in `/mcp`; the same for as long as both are called so."""
    return plain_name(server, name) or hashed_name(server, name)


def split_name(shared: str) -> tuple[str, str] | None:
    """Return the server and the name that a plain name is made of; None: it is none."""
    server, _, name = shared.partition(_SEPARATOR)
    return (server, name) if server and name and plain_name(server, name) == shared else None


def prefixed_uri(server: str, uri: str) -> str:
    """Return what a resource of a server is called in `/mcp` where others have one of the same URI."""
    return f"busbar+{server}:{uri}"


def split_uri(shared: str) -> tuple[str, str] | None:
    """Return the server and the URI that a prefixed URI is made of; None: it is none."""
    found = _PREFIXED_URI.fullmatch(shared)
    return None if found is None else (found[1], found[2])
