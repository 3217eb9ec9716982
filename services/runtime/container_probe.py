"""Whether the one service of a container is ready: `python -m services.runtime.container_probe`, status 0 or 1."""

import os
import socket
from collections.abc import Mapping
from typing import Final

_PORTS: Final = {
    "BUSBAR_ORCHESTRATOR_PORT": 8080,
    "BUSBAR_HEALTH_PORT": 8081,
    "BUSBAR_ADMIN_PORT": 8082,
    "BUSBAR_METRICS_PORT": 9464,
}
_TIMEOUT_S: Final = 2.0
# Without a library for HTTP: this runs every few seconds in every container, and must cost nothing.
_REQUEST: Final = b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"


def is_ready(environ: Mapping[str, str]) -> bool:
    """Whether the first of the services' ports on which somebody listens answers /readyz with 200."""
    for variable, default in _PORTS.items():
        try:
            port = int(environ.get(variable) or default)
            with socket.create_connection(("127.0.0.1", port), _TIMEOUT_S) as connection:
                connection.sendall(_REQUEST)
                return connection.recv(64).split(b" ", 2)[1:2] == [b"200"]
        except ConnectionRefusedError:
            continue  # another service has this port
        except (OSError, ValueError):
            return False
    return False


if __name__ == "__main__":
    raise SystemExit(0 if is_ready(os.environ) else 1)
