"""Who may do what on NATS: a user for each service, for the workers of each server, and for each caller.

Replies go to inboxes that are named here, and `allow_responses` is not used: NATS forgets those permissions when it
reads its configuration again, and the answers in flight with them.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from bus_schemas import subjects

_EVENTS = "mcp.v1.event.>"
_QUESTIONS = "mcp.v1.control.*"
"""What is asked of every process at once: its configuration, and what it knows of breakers, weights, maintenance."""
_ORDERS = "mcp.v1.control.>"
_ORCHESTRATORS, _ADMINS, _HEALTH = "_INBOX_orchestrator.>", "_INBOX_admin.>", "_INBOX_health.>"
_CALLERS, _OBSERVERS = "_INBOX_caller.>", "_INBOX_observer.>"


@dataclass(frozen=True, slots=True)
class BusUser:
    """A user of NATS; what is in neither list is refused."""

    name: str
    publishes: tuple[str, ...]
    subscribes: tuple[str, ...]
    """Subjects; with a second word only as a member of that queue group, so that nobody listens in."""


def bus_users(servers: Collection[str], callers: Collection[str]) -> list[BusUser]:
    """Return everybody who may connect, in a fixed order."""
    return [
        orchestrator(),
        health(),
        admin(),
        observer(),
        *(worker(server) for server in sorted(servers)),
        *(caller(name) for name in sorted(callers)),
    ]


def orchestrator() -> BusUser:
    """Takes queries, sends calls, and answers whoever asks all orchestrators."""
    return BusUser(
        "orchestrator",
        publishes=(
            "mcp.v1.call.>",
            "mcp.v1.cancel.*",
            _ORDERS,
            "mcp.v1.event.orchestrator.*",
            subjects.BREAKER_EVENTS,
            subjects.CLIENT_EVENTS,
            subjects.service_verb("PING"),
            _CALLERS,
            _ORCHESTRATORS,
            _ADMINS,
            _HEALTH,
        ),
        subscribes=(f"{subjects.QUERY} {subjects.QUERY_QUEUE}", _EVENTS, _QUESTIONS, _ORCHESTRATORS),
    )


def health() -> BusUser:
    """Listens, and asks what others know."""
    return BusUser(
        "health",
        publishes=(_QUESTIONS, subjects.ANYBODY, _HEALTH, _ORCHESTRATORS, _ADMINS),
        subscribes=(_EVENTS, _QUESTIONS, _HEALTH),
    )


def admin() -> BusUser:
    """Gives orders to everybody."""
    return BusUser(
        "admin",
        publishes=(_ORDERS, _EVENTS, subjects.service_verb("PING"), _ADMINS, _ORCHESTRATORS, _HEALTH),
        subscribes=(_EVENTS, _QUESTIONS, _ADMINS),
    )


def observer() -> BusUser:
    """An operator with `nats micro ls|info|stats`, and no more: `nats --inbox-prefix _INBOX_observer …`."""
    return BusUser("observer", publishes=("$SRV.>",), subscribes=(_OBSERVERS,))


def worker(server: str) -> BusUser:
    """The workers of one server: its calls and no others, and its events alone."""
    own = f"_INBOX_worker.{server}.>"
    return BusUser(
        f"worker_{server}",
        publishes=(subjects.worker_event(server, "*"), _ORCHESTRATORS, _ADMINS, _OBSERVERS, own),
        subscribes=(
            f"mcp.v1.call.{server}.* {server}.*",
            f"mcp.v1.call.{server}.*.*",  # of one instance, which has no queue group
            subjects.cancel(server),
            subjects.control(server, "*"),
            subjects.CONFIG,
            subjects.WORKER_CONFIG,
            subjects.service_verb("*"),
            subjects.service_verb("*", server),
            subjects.service_verb("*", server, "*"),
            own,
        ),
    )


def caller(name: str) -> BusUser:
    """Somebody outside who asks queries; each caller has an inbox that no other caller can read."""
    return BusUser(f"caller_{name}", publishes=(subjects.QUERY,), subscribes=(f"_INBOX_caller.{name}.>",))


def accounts_conf(users: Iterable[BusUser], public_keys: Mapping[str, Collection[str]]) -> str:
    """Return the part of NATS's configuration that says who may connect, and may do what.

    Args:
        users: everybody.
        public_keys: of each user's name; while keys are exchanged a user has two, with the same rights.
    """
    lines = ["# Written by `busbar init`: do not edit.", "accounts {", "  BUSBAR {", "    users = ["]
    for user in users:
        permissions = (
            f"{{publish: {{allow: {json.dumps(user.publishes)}}}, subscribe: {{allow: {json.dumps(user.subscribes)}}}}}"
        )
        lines.append(f"      # {user.name}")
        lines += [f"      {{nkey: {key}, permissions: {permissions}}}" for key in public_keys[user.name]]
    # An account of its own for NATS's events: nobody is in it.
    lines += ["    ]", "  }", "  SYSTEM {}", "}", "system_account: SYSTEM", ""]
    return "\n".join(lines)


def routes_conf(nodes: Collection[str], password: str) -> str:
    """Return the part of the block `cluster` that says where the nodes are, and how they know each other."""
    routes = [f"nats://route:{password}@{node}:6222" for node in nodes]
    return (
        "# Written by `busbar init`: do not edit.\n"
        f"authorization {{user: route, password: {json.dumps(password)}, timeout: 2}}\n"
        f"routes: {json.dumps(routes)}\n"
    )
