"""The configurations that workers are started with: what was in force when they were, whatever the file says meanwhile.

A worker that dies is started again as it was, although somebody is editing the operator's file: that comes into
force by a deploy or a reload. And a server with a command and a URL is started by us, once; here its workers
find only the URL. This way it stands in no process's arguments, where everybody could read it.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from bus_schemas.names import version_token
from services.runtime.config.connections import Connection
from services.runtime.config.document import Document
from services.supervisor.state_folder import StateFolder

_OF_THE_PROCESS = frozenset({"command", "args", "cwd", "env"})
IN_FORCE: Final = "workers.json"
"""In the state folder."""

Entry = dict[str, object]


def pinned(document: Document, connections: Mapping[str, Connection]) -> dict[str, object]:
    """Return the configuration for workers; references to variables are left for them to expand.

    Args:
        document: the operator's file.
        connections: of all served servers in it.
    """
    return {"servers": pinned_entries(document, connections)}


def pinned_entries(document: Document, connections: Mapping[str, Connection]) -> dict[str, Entry]:
    """As `pinned`, by the server's name."""
    return {name: _server(document, connections, name) for name in document.entries}


def _server(document: Document, connections: Mapping[str, Connection], name: str) -> Entry:
    entry = document.entries[name]
    connection = connections.get(name)
    if connection is None:  # disabled
        return dict(entry.public)
    if connection.url is not None:
        private = {key: value for key, value in entry.private.items() if key not in _OF_THE_PROCESS}
    else:
        # What is relative is relative to the operator's file, not to ours. `$${` stands for `${` itself.
        private = {**entry.private, "cwd": str(connection.cwd).replace("${", "$${")}
    return {**entry.public, **private}


class PinnedFiles:
    """The files that workers read: one of what is in force, and one for each version that is being deployed."""

    def __init__(self, folder: StateFolder) -> None:
        """Remove what a run that was killed has left."""
        self._folder = folder
        self._paths: dict[tuple[str, str], Path] = {}
        for left in folder.path.glob("worker-*.json"):
            left.unlink(missing_ok=True)

    def write(self, entries: Mapping[str, Entry]) -> Path:
        """Write what is in force, whole or not at all; return the file's path."""
        return self._folder.write(IN_FORCE, _text(entries))

    def write_for(self, server: str, version: str, entry: Entry) -> Path:
        """Write what the workers of one version of a server read; return the file's path."""
        path = self._folder.write(f"worker-{server}-{version_token(version)}.json", _text({server: entry}))
        self._paths[server, version] = path
        return path

    def rewrite_for(self, server: str, version: str, entry: Entry) -> None:
        """As `write_for`, if that version has such a file: its workers read it for as long as they live."""
        if (server, version) in self._paths:
            self.write_for(server, version, entry)

    def remove_for(self, server: str, version: str) -> None:
        """Nobody of that version reads it any more."""
        if (path := self._paths.pop((server, version), None)) is not None:
            path.unlink(missing_ok=True)


def _text(entries: Mapping[str, Entry]) -> str:
    # Whom else is asked is nothing to a worker, and of these not all may be in the same file.
    routing = {"alternates", "group", "priority"}
    kept = {name: {key: value for key, value in entry.items() if key not in routing} for name, entry in entries.items()}
    return json.dumps({"servers": kept})
