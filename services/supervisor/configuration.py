"""What the operator's file says, whole, and what of it a reload puts into force (pure but for the reading)."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from services.runtime.config.connections import Connection, load_config
from services.runtime.config.document import read_document
from services.runtime.config.policy import Policy, ServerPolicy
from services.supervisor.pinning import Entry, pinned_entries

_OF_WORKERS: Final = ("era", "max_in_flight", "session")
"""What of a server's policy a worker goes by for as long as it lives."""
_OF_VERSIONS: Final = frozenset({"version"})


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading of a file: everything about the servers that are served."""

    policy: Policy
    connections: Mapping[str, Connection] = field(repr=False)
    entries: Mapping[str, Entry] = field(repr=False)
    """As workers find them, disabled servers included."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a reload does."""

    reading: Reading
    """In force from then on."""
    added: list[str]
    removed: list[str]
    replaced: list[str]
    """Servers whose workers others take the place of."""
    undeployed: list[str]
    """Servers whose version in the file is another: its workers, and how they reach it, stay as they are."""
    problems: list[str]
    """Why it cannot be done."""


def read_whole(path: Path) -> Reading:
    """Return what the file says.

    Raises:
        ConfigError: a line for everything that is wrong, private keys included.
    """
    policy, connections = load_config(path)
    return Reading(policy, connections, pinned_entries(read_document(path), connections))


def change(before: Reading, file: Reading) -> Change:
    """Return what has to be done so that what the file says comes into force."""
    old, new = before.policy.servers, file.policy.servers
    undeployed = sorted(name for name in old.keys() & new.keys() if old[name].version != new[name].version)
    reading = file
    for name in undeployed:
        reading = _with_version_of(before, reading, name)
    same = sorted((old.keys() & new.keys()) - set(undeployed))
    return Change(
        reading=reading,
        added=sorted(new.keys() - old.keys()),
        removed=sorted(old.keys() - new.keys()),
        replaced=[name for name in same if _needs_other_workers(before, file, name)],
        undeployed=undeployed,
        problems=[
            f"servers.{name}.command: another one needs another url beside it, or a version of its own to be deployed"
            for name in same
            if is_in_the_way(before.connections[name], file.connections[name])
        ],
    )


def deployed(before: Reading, file: Reading, server: str) -> Reading:
    """Return what is in force once the version of one server that is in a file has taken over."""
    return Reading(
        policy=Policy(servers={**before.policy.servers, server: _without_others(file.policy.servers[server], before)}),
        connections={**before.connections, server: file.connections[server]},
        entries={**before.entries, server: file.entries[server]},
    )


def is_in_the_way(old: Connection, new: Connection) -> bool:
    """Whether both are processes of ours that would listen at the same URL, and are not the same."""
    return (
        bool(old.command and new.command)
        and old.url is not None
        and old.url == new.url
        and _process(old) != _process(new)
    )


def _with_version_of(before: Reading, reading: Reading, name: str) -> Reading:
    policy = reading.policy.servers[name].model_copy(update={"version": before.policy.servers[name].version})
    public = {key: value for key, value in reading.entries[name].items() if key in ServerPolicy.model_fields}
    private = {key: value for key, value in before.entries[name].items() if key not in ServerPolicy.model_fields}
    entry: Entry = {**public, **private, "version": policy.version}
    return Reading(
        policy=reading.policy.model_copy(update={"servers": {**reading.policy.servers, name: policy}}),
        connections={**reading.connections, name: before.connections[name]},
        entries={**reading.entries, name: entry},
    )


def _without_others(policy: ServerPolicy, before: Reading) -> ServerPolicy:
    """Another file may name alternates that this system does not serve; a reload brings them along."""
    known = tuple(name for name in policy.alternates if name in before.policy.servers)
    return policy.model_copy(update={"alternates": known})


def _needs_other_workers(before: Reading, file: Reading, name: str) -> bool:
    old, new = before.policy.servers[name], file.policy.servers[name]
    if any(getattr(old, key) != getattr(new, key) for key in _OF_WORKERS):
        return True
    return _reach(before.connections[name]) != _reach(file.connections[name])


def _reach(connection: Connection) -> Connection:
    """The connection, without a folder in which nothing runs."""
    return connection if connection.command else replace(connection, cwd=Path())


def _process(connection: Connection) -> tuple[object, ...]:
    return connection.command, connection.cwd, dict(connection.env)
