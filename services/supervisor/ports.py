"""Which ports everything takes; one that is in use is told before anything has started."""

import errno
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from services.supervisor.errors import PortError
from services.supervisor.settings import SupervisorSettings

LOOPBACK: Final = "127.0.0.1"
_TRIES: Final = 100


@dataclass(frozen=True, slots=True)
class Ports:
    """A port for everything that listens; None where the run uses somebody else's."""

    orchestrators: tuple[int, ...]
    health: int
    admin: int
    nats: int | None
    redis: int | None


def choose_ports(settings: SupervisorSettings) -> Ports:
    """Return a free port for everything that the settings ask for.

    The orchestrators' are consecutive, but for ports that the settings give to others.

    Raises:
        PortError: a port that was asked for cannot be had; the text names it and its option.
    """
    wanted = {
        "--orchestrator-port": (settings.host, settings.orchestrator_port),
        "--health-port": (settings.host, settings.health_port),
        "--admin-port": (settings.host, settings.admin_port),
    }
    if settings.external_nats_url is None:
        wanted["--nats-port"] = (LOOPBACK, settings.nats_port)
    if settings.external_redis_url is None:
        wanted["--redis-port"] = (LOOPBACK, settings.redis_port)
    _refuse_twice({option: port for option, (_, port) in wanted.items() if port})
    taken = {port for _, port in wanted.values()}
    chosen: dict[str, int] = {}
    for option, (host, port) in wanted.items():
        if option != "--orchestrator-port":
            chosen[option] = port or free_port(host, taken)
            _require_free(host, chosen[option], option)
    return Ports(
        orchestrators=_orchestrator_ports(settings, taken),
        health=chosen["--health-port"],
        admin=chosen["--admin-port"],
        nats=chosen.get("--nats-port"),
        redis=chosen.get("--redis-port"),
    )


def free_port(host: str, taken: set[int]) -> int:
    """Return a port that is free on `host` now and not in `taken`, and add it there."""
    for _ in range(_TRIES):
        with _bound(host, 0) as listener:
            port: int = listener.getsockname()[1]
        if port not in taken:
            taken.add(port)
            return port
    raise PortError(f"there is no free port on {host}")


def _refuse_twice(wanted: Mapping[str, int]) -> None:
    first_of: dict[int, str] = {}
    for option, port in wanted.items():
        if port in first_of:
            raise PortError(f"port {port} is given to both {first_of[port]} and {option}")
        first_of[port] = option


def _orchestrator_ports(settings: SupervisorSettings, taken: set[int]) -> tuple[int, ...]:
    if settings.orchestrator_port:
        ports = _run_of_ports(settings.orchestrator_port, settings.orchestrators, taken)
        for port in ports:
            _require_free(settings.host, port, "--orchestrator-port")
        taken.update(ports)
        return ports
    for _ in range(_TRIES):
        ports = _run_of_ports(free_port(settings.host, set(taken)), settings.orchestrators, taken)
        if all(_fault(settings.host, port) is None for port in ports):
            taken.update(ports)
            return ports
    raise PortError(f"there are no {settings.orchestrators} consecutive free ports on {settings.host}")


def _run_of_ports(first: int, count: int, taken: set[int]) -> tuple[int, ...]:
    """Return `first` and the next `count - 1` ports that are not in `taken`."""
    ports = [first]
    port = first
    while len(ports) < count:
        port += 1
        if port not in taken:
            ports.append(port)
    return tuple(ports)


def _require_free(host: str, port: int, option: str) -> None:
    fault = _fault(host, port)
    if fault == errno.EADDRINUSE:
        raise PortError(f"port {port} is in use; choose another with {option}, or 0 for any free one")
    if fault is not None:
        raise PortError(f"port {port} on {host} cannot be had ({os.strerror(fault)}); see {option} and --host")


def _fault(host: str, port: int) -> int | None:
    """Return the errno with which the port cannot be had; None if it can."""
    if port > 65535:
        return errno.EADDRNOTAVAIL
    try:
        _bound(host, port).close()
    except PortError:
        raise
    except OSError as error:
        return error.errno or errno.EADDRNOTAVAIL
    return None


def _bound(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    # As the services do: a port on which only old connections linger is free.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except socket.gaierror as error:
        listener.close()
        raise PortError(f"{host} is not an address of this machine; see --host") from error
    except OSError:
        listener.close()
        raise
    return listener
