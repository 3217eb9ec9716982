"""The socket that a service listens on."""

import math
import socket


class PortInUseError(Exception):
    """Another process listens on the address."""


def bind(host: str, port: int, *, send_timeout_s: float = 60) -> socket.socket:
    """Return a socket bound to the address.

    Args:
        host: the address to listen on.
        port: of it; 0 takes any free one.
        send_timeout_s: a caller that takes nothing of its answer for so long is cut off, so that the memory comes
            back; where the system can do that (Linux).

    Raises:
        PortInUseError: another process listens there.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # connections have it from the socket that accepts them
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, math.ceil(1000 * send_timeout_s))
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise PortInUseError(f"port {port} on {host} is in use or not ours to take") from error
    listener.set_inheritable(False)
    return listener
