"""Which ports the processes of a run take."""

import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from typing import Any

import pytest

from services.supervisor.errors import PortError
from services.supervisor.ports import LOOPBACK, choose_ports, free_port
from services.supervisor.settings import SupervisorSettings

_ANY = dict.fromkeys(("orchestrator_port", "health_port", "admin_port", "nats_port", "redis_port"), 0)
_OPTIONS = [(field, f"--{field.replace('_', '-')}") for field in _ANY]


@pytest.fixture
def used_port() -> Iterator[int]:
    with socket.create_server((LOOPBACK, 0)) as listener:
        port: int = listener.getsockname()[1]
        yield port


@pytest.fixture
def three_free_ports() -> int:
    """The first of three free ports in a row, below those that the kernel gives to whoever asks for any."""
    for first in random.sample(range(20_000, 30_000), 100):
        with ExitStack() as listeners:
            try:
                for port in range(first, first + 3):
                    listeners.enter_context(socket.create_server((LOOPBACK, port)))
            except OSError:
                continue
        return first
    pytest.fail("no three free ports in a row")


def settings(**values: Any) -> SupervisorSettings:
    return SupervisorSettings(**{**_ANY, **values})


def test_zeros_become_different_free_ports() -> None:
    ports = choose_ports(settings(orchestrators=3))
    chosen = (*ports.orchestrators, ports.health, ports.admin, ports.nats, ports.redis)
    assert len(set(chosen)) == 7
    assert None not in chosen


@pytest.mark.parametrize(("field", "option"), _OPTIONS)
def test_a_port_in_use_is_named_with_its_option(field: str, option: str, used_port: int) -> None:
    with pytest.raises(PortError, match=rf"port {used_port} is in use.*{option}"):
        choose_ports(settings(**{field: used_port}))


def test_the_second_orchestrators_port_is_looked_at_too(three_free_ports: int) -> None:
    second = three_free_ports + 1
    with (
        socket.create_server((LOOPBACK, second)),
        pytest.raises(PortError, match=rf"port {second} is in use.*--orchestrator-port"),
    ):
        choose_ports(settings(orchestrator_port=three_free_ports, orchestrators=2))


def test_orchestrators_take_consecutive_ports() -> None:
    ports = choose_ports(settings(orchestrators=3)).orchestrators
    assert all(later == earlier + 1 for earlier, later in pairwise(ports))


def test_orchestrators_leave_out_the_ports_of_others(three_free_ports: int) -> None:
    first = three_free_ports
    ports = choose_ports(settings(orchestrator_port=first, health_port=first + 1, orchestrators=2))
    assert ports.orchestrators == (first, first + 2)


def test_a_port_for_two_is_refused_with_both_options() -> None:
    port = free_port(LOOPBACK, set())
    with pytest.raises(PortError, match=rf"port {port} is given to both --health-port and --admin-port"):
        choose_ports(settings(health_port=port, admin_port=port))


def test_a_bus_and_a_store_of_somebody_else_take_no_port(used_port: int) -> None:
    ports = choose_ports(
        settings(nats_url="nats://other", redis_url="redis://other", nats_port=used_port, redis_port=used_port)
    )
    assert (ports.nats, ports.redis) == (None, None)


def test_a_host_of_somebody_else_is_refused() -> None:
    with pytest.raises(PortError, match="--host"):
        choose_ports(settings(host="192.0.2.1", health_port=free_port(LOOPBACK, set())))
