"""The configuration that workers are started with, as it was at the start of the run.

A worker that dies is started again as it was, although somebody is editing the operator's file: that comes into
force by a deploy or a reload. And a server with a command and a URL is started by us, once; here its workers
find only the URL. This way it stands in no process's arguments, where everybody could read it.
"""

from collections.abc import Mapping

from services.runtime.config.connections import Connection
from services.runtime.config.document import Document

_OF_THE_PROCESS = frozenset({"command", "args", "cwd", "env"})


def pinned(document: Document, connections: Mapping[str, Connection]) -> dict[str, object]:
    """Return the configuration for workers; references to variables are left for them to expand.

    Args:
        document: the operator's file.
        connections: of all served servers in it.
    """
    return {"servers": {name: _server(document, connections, name) for name in document.entries}}


def _server(document: Document, connections: Mapping[str, Connection], name: str) -> dict[str, object]:
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
