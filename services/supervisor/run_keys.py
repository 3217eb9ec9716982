"""The keys of one run: one for queries, one for admin, without limits."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from services.runtime.auth.keys import KeysFileError, add_key, revoke_key

QUERY_KEY_ID = "up-query"
ADMIN_KEY_ID = "up-admin"


@dataclass(frozen=True, slots=True)
class RunKeys:
    """What `busbar up` prints, and keeps in its state file for the other commands."""

    query: str = field(repr=False)
    admin: str = field(repr=False)


@contextmanager
def run_keys(path: Path) -> Iterator[RunKeys]:
    """Put fresh keys into the keys file for as long as the context is open; other keys in it stay.

    Raises:
        KeysFileError: the file cannot be used.
    """
    _revoke(path)  # a run that was killed has left its own
    try:
        yield RunKeys(
            query=add_key(path, QUERY_KEY_ID, scopes=("query",)), admin=add_key(path, ADMIN_KEY_ID, scopes=("admin",))
        )
    finally:
        _revoke(path)


def _revoke(path: Path) -> None:
    for key_id in (QUERY_KEY_ID, ADMIN_KEY_ID):
        with suppress(KeysFileError):
            revoke_key(path, key_id)
