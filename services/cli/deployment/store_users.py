"""Who may do what in Valkey: a user for each service that keeps something there."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_COMMANDS = (
    "+ping +info +eval +evalsha +time +type +get +set +mget +del +unlink +pexpire +pttl +hget +hset +hdel +hmget "
    "+hexists +hkeys +hvals +sadd +srem +smembers +sscan +zadd +zrem +zcount +zrangebyscore +zremrangebyscore"
)
"""Those of the scripts in services/ that are one step each, and of the proof of life. Nothing else is allowed."""
_ALL_KEYS = "~busbar:v1:*"
_CACHE = "~busbar:v1:cache:*"


@dataclass(frozen=True, slots=True)
class StoreUser:
    """A user of Valkey."""

    name: str
    keys: str
    """Patterns of the keys it may read and write."""


STORE_USERS = (
    StoreUser("orchestrator", _ALL_KEYS),
    StoreUser("health", _CACHE),
    StoreUser("admin", f"{_CACHE} ~busbar:v1:retained:* ~busbar:v1:rollouts ~busbar:v1:rollouts:*"),
)


def store_url(user: StoreUser, password: str, *, tls: bool) -> str:
    """Return by which URL a service reaches the store; the certificates are where deploy/tls mounts them."""
    address = f"{user.name}:{password}@valkey:6379/0"
    if not tls:
        return f"redis://{address}"
    files = "ssl_ca_certs=/etc/tls/ca.pem&ssl_certfile=/etc/tls/node.pem&ssl_keyfile=/etc/tls/node.key"
    return f"rediss://{address}?{files}"


def users_acl(users: Iterable[StoreUser], passwords: Mapping[str, str]) -> str:
    """Return Valkey's file of users, which holds no password, only its SHA-256.

    The user `probe` may ask for a sign of life and is the container's own health check; `default`, who Valkey lets in
    without a name, is off.
    """
    lines = ["user default reset off", f"user probe reset on #{_sha256('probe')} +ping"]
    lines += [f"user {user.name} reset on #{_sha256(passwords[user.name])} {user.keys} {_COMMANDS}" for user in users]
    return "\n".join([*lines, ""])


def _sha256(password: str) -> str:
    return hashlib.sha256(password.encode()).hexdigest()
