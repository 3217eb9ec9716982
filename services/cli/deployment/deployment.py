"""Makes a deployment's folder, adds what a changed configuration needs, and exchanges the keys of the bus's users."""

import json
import secrets
from collections.abc import Collection
from enum import Enum, auto
from pathlib import Path
from typing import Final

from services.cli.deployment.bus_users import BusUser, accounts_conf, bus_users, routes_conf
from services.cli.deployment.folder import SECRET, SHARED, Folder, owner_here
from services.cli.deployment.store_users import STORE_USERS, store_url, users_acl
from services.runtime.auth.keys import add_key
from services.runtime.auth.principals import Scope
from services.runtime.config.file import load_policy, public_text
from services.runtime.nkeys import UserNkey, new_seed

NODES: Final = ("nats-1", "nats-2", "nats-3")
FIRST_CALLER: Final = "bus"
_FOLDERS: Final = ("audit", "callers", "config", "keys", "nats", "public", "secrets", "valkey", "webhooks")
_CONFIG, _OLD_KEYS, _API_KEYS = "config/busbar.yaml", "nats/old_nkeys.json", "keys/keys.jsonl"
_FIRST_KEYS: Final[dict[str, tuple[Scope, ...]]] = {"first-caller": ("query",), "first-operator": ("admin",)}


class Exchange(Enum):
    """What is done to the keys of the bus's users. Between the first and the second NATS takes both."""

    NOTHING = auto()
    NEW = auto()
    DROP_OLD = auto()


class DeploymentError(Exception):
    """It cannot be done like this; the text is the line for the user."""


def deploy_folder(
    path: Path,
    *,
    config: Path | None,
    callers: Collection[str],
    exchange: Exchange = Exchange.NOTHING,
    tls: bool = False,
) -> dict[str, str]:
    """Make what is missing, keep what is there, and return the keys that were made, by id.

    Args:
        path: of the folder.
        config: the file of servers to take over; None: the one that the folder has.
        callers: on the bus, to add to those that the folder has; if nobody ever was named, there is one.
        exchange: of the bus users' keys.
        tls: whether the store is reached over TLS from now on; else that stays as it is.

    Raises:
        DeploymentError: there is no configuration, or the keys are not in the state that `exchange` begins with.
        ConfigError: the configuration is not valid.
        KeysFileError: the keys file cannot be changed.
        OSError: a file cannot be written.
    """
    if config is None and not (path / _CONFIG).exists():
        raise DeploymentError("a new deployment needs --config FILE")
    source = config or path / _CONFIG
    servers, public = load_policy(source).servers, public_text(source)
    folder = Folder(path, owner_here())
    for name in _FOLDERS:
        folder.make(name)
    if config is not None:
        folder.write(_CONFIG, config.read_text(encoding="utf-8-sig"), mode=SECRET)
    folder.write("public/busbar.yaml", public, mode=SECRET)
    everybody = {*callers, *(name.removesuffix(".nk") for name in folder.names("callers"))} or {FIRST_CALLER}
    _settle_bus(folder, bus_users(servers, everybody), exchange)
    _settle_store(folder, tls=tls)
    folder.kept("secrets/grafana_admin", secrets.token_urlsafe, mode=SHARED)
    folder.kept(".env", lambda: _environment(folder), mode=0o600)
    return _first_api_keys(folder)


def _settle_bus(folder: Folder, users: list[BusUser], exchange: Exchange) -> None:
    old: dict[str, str] = json.loads(folder.read(_OLD_KEYS) or "{}")
    if exchange is Exchange.NEW and old:
        raise DeploymentError("NATS still takes the keys before these; --drop-old-nkeys first")
    if exchange is Exchange.DROP_OLD and not old:
        raise DeploymentError("there are no old keys")
    if exchange is Exchange.NEW:
        old = {user.name: UserNkey(seed).public_key for user in users if (seed := folder.read(_seed_file(user)))}
        # First who is let in, then the seeds: a crash between them leaves every service a key that holds.
        folder.write(_OLD_KEYS, json.dumps(old) + "\n", mode=SECRET)
        for user in users:
            folder.write(_seed_file(user), new_seed() + "\n", mode=SECRET)
    if exchange is Exchange.DROP_OLD:
        old = {}
        folder.write(_OLD_KEYS, "{}\n", mode=SECRET)
    current = {user.name: UserNkey(folder.kept(_seed_file(user), new_seed)).public_key for user in users}
    keys = {name: [key, old[name]] if name in old else [key] for name, key in current.items()}
    folder.write("nats/accounts.conf", accounts_conf(users, keys), mode=SECRET)
    folder.kept("nats/routes.conf", lambda: routes_conf(NODES, secrets.token_urlsafe(32)).removesuffix("\n"))


def _seed_file(user: BusUser) -> str:
    """Return where a user's seed is: those of callers are handed to people, the others are mounted."""
    kind, _, name = user.name.partition("_")
    return f"callers/{name}.nk" if kind == "caller" else f"secrets/nats_{user.name}"


def _settle_store(folder: Folder, *, tls: bool) -> None:
    passwords = {}
    for user in STORE_USERS:
        file = f"secrets/redis_{user.name}"
        held = folder.read(file)
        passwords[user.name] = held.split("@")[0].rpartition(":")[2] if held else secrets.token_urlsafe(32)
        if held is None or tls:
            folder.write(file, store_url(user, passwords[user.name], tls=tls) + "\n", mode=SECRET)
    folder.write("valkey/users.acl", users_acl(STORE_USERS, passwords), mode=SHARED)


def _environment(folder: Folder) -> str:
    return "\n".join(
        (
            "# What docker-compose.prod.yml wants to know; the rest of its variables have defaults. No secrets here.",
            f"BUSBAR_DEPLOYMENT={folder.path}",
            f"BUSBAR_UID={folder.owner.uid}",
            f"BUSBAR_GID={folder.owner.gid}",
        )
    )


def _first_api_keys(folder: Folder) -> dict[str, str]:
    if folder.read(_API_KEYS) is not None:
        return {}
    folder.write(_API_KEYS, "", mode=0o600)  # with its owner, which later changes keep
    return {name: add_key(folder.path / _API_KEYS, name, scopes=scopes) for name, scopes in _FIRST_KEYS.items()}
