"""What can be ordered at the console: each order is one operation of the API, with a form of its own."""

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["text", "number", "minutes", "steps", "switch"]


@dataclass(frozen=True, slots=True)
class Field:
    """One thing that somebody fills in."""

    name: str
    label: str
    kind: Kind = "text"
    value: str = ""
    """What stands there at first."""
    hint: str = ""
    is_needed: bool = True
    least: str = ""
    most: str = ""
    key: str = ""
    """Its name in the body of the operation, if that is another."""

    @property
    def body_key(self) -> str:
        return self.key or self.name


@dataclass(frozen=True, slots=True)
class Order:
    """One operation, as it is shown to whoever is about to order it. Texts may name targets in braces."""

    name: str
    """In the path of its form."""
    title: str
    meaning: str
    button: str
    done: str
    method: str
    path: str
    """Of the operation, with targets in braces."""
    panel: str
    """Where somebody goes on afterwards."""
    targets: tuple[str, ...] = ()
    """What it is of: the link to the form names it."""
    fields: tuple[Field, ...] = ()
    in_body: tuple[str, ...] = ()
    """The targets that the operation takes in its body."""
    is_grave: bool = False
    """Whether it takes something away that does not come back by itself."""

    @property
    def has_body(self) -> bool:
        return bool(self.fields or self.in_body)


_REASON: Final = Field("reason", "Reason", hint="One line; it is shown to others and kept in the audit log.")

_OF_WORKERS: Final = (
    Order(
        name="drain-worker",
        title="Drain worker {instance}",
        meaning="It takes no new queries, answers those it has, and exits. Its supervisor does not start it again.",
        button="Drain worker",
        done="Worker {instance} finishes what it has and leaves.",
        method="POST",
        path="/v1/workers/{instance}/drain",
        panel="fleet",
        targets=("instance",),
        is_grave=True,
    ),
)

_OF_SERVERS: Final = (
    Order(
        name="begin-maintenance",
        title="Take {server} out",
        meaning="Its queries go to its alternates, or are refused with “maintenance”. Those in flight are answered.",
        button="Take out",
        done="{server} is out.",
        method="POST",
        path="/v1/servers/{server}/maintenance",
        panel="fleet",
        targets=("server",),
        fields=(
            _REASON,
            Field(
                "for_min",
                "Minutes",
                kind="minutes",
                hint="After so long it is back by itself. Empty: until somebody puts it back.",
                is_needed=False,
                least="1",
                key="until",
            ),
        ),
        is_grave=True,
    ),
    Order(
        name="end-maintenance",
        title="Put {server} back",
        meaning="Queries reach it again.",
        button="Put back",
        done="{server} is back.",
        method="DELETE",
        path="/v1/servers/{server}/maintenance",
        panel="fleet",
        targets=("server",),
    ),
)

_OF_BREAKERS: Final = (
    Order(
        name="isolate-server",
        title="Isolate {server}",
        meaning="No query reaches any version of it for that time, at any orchestrator; its alternates are asked.",
        button="Isolate",
        done="{server} is isolated.",
        method="POST",
        path="/v1/breakers/{server}/isolate",
        panel="breakers",
        targets=("server",),
        fields=(
            _REASON,
            Field("for_s", "Seconds", kind="number", value="300", hint="1 to 86400.", least="1", most="86400"),
        ),
        is_grave=True,
    ),
    Order(
        name="reset-breakers",
        title="Reset the breakers of {server}",
        meaning="Those of every version close, at every orchestrator: queries are let through again.",
        button="Reset",
        done="The breakers of {server} are closed.",
        method="POST",
        path="/v1/breakers/{server}/reset",
        panel="breakers",
        targets=("server",),
        fields=(_REASON,),
    ),
)

_OF_THE_CACHE: Final = (
    Order(
        name="clear-cache",
        title="Flush the whole cache",
        meaning="No query is answered from before any more. Until it has filled again, the servers have more to do.",
        button="Flush all",
        done="The cache is flushed.",
        method="DELETE",
        path="/v1/cache",
        panel="cache",
        is_grave=True,
    ),
    Order(
        name="clear-server-cache",
        title="Flush what {server} answered",
        meaning="None of its answers of before is given again.",
        button="Flush",
        done="What {server} answered is flushed.",
        method="DELETE",
        path="/v1/cache/{server}",
        panel="cache",
        targets=("server",),
        is_grave=True,
    ),
    Order(
        name="clear-tool-cache",
        title="Flush what {tool} of {server} answered",
        meaning="None of its answers of before is given again.",
        button="Flush",
        done="What {tool} of {server} answered is flushed.",
        method="DELETE",
        path="/v1/cache/{server}/{tool}",
        panel="cache",
        targets=("server", "tool"),
        is_grave=True,
    ),
)

_OF_THE_CONFIGURATION: Final = (
    Order(
        name="reload-config",
        title="Reload the configuration",
        meaning=(
            "Every process reads its configuration file anew. If all find it valid and the same, it comes into force: "
            "servers come and go while traffic flows. Else nothing is changed."
        ),
        button="Reload configuration",
        done="The configuration was read.",
        method="POST",
        path="/v1/config/reload",
        panel="fleet",
    ),
)

_OF_ROLLOUTS: Final = (
    Order(
        name="start-rollout",
        title="Move {server} to {to_version}",
        meaning="Its queries move in steps, and back by themselves where the new version does worse than the old one.",
        button="Start rollout",
        done="The rollout of {server} to {to_version} has begun.",
        method="POST",
        path="/v1/rollouts",
        panel="rollouts",
        targets=("server", "to_version"),
        fields=(
            Field(
                "steps",
                "Steps, percent",
                kind="steps",
                value="10, 50, 100",
                hint="Its shares, ascending, with commas between.",
            ),
            Field("step_s", "Seconds a step", kind="number", value="30", least="0.1", most="86400"),
            Field(
                "max_error_rate",
                "Errors above the old version's",
                kind="number",
                value="0.01",
                hint="A share: 0.01 is 1 %.",
                least="0",
                most="1",
            ),
            Field(
                "max_p95_ratio",
                "Times the old version's 95th percentile",
                kind="number",
                value="1.5",
                least="1",
                most="1000",
            ),
            Field(
                "min_requests",
                "Requests for evidence",
                kind="number",
                value="50",
                hint="With fewer a step passes without evidence.",
                least="0",
                most="1000000",
            ),
            Field("require_traffic", "Pause without evidence", kind="switch", is_needed=False),
        ),
        in_body=("server", "to_version"),
    ),
    Order(
        name="pause-rollout",
        title="Pause the rollout of {server}",
        meaning="It stays at the shares as they are. A version that fails goes back all the same.",
        button="Pause",
        done="The rollout is paused.",
        method="POST",
        path="/v1/rollouts/{id}/pause",
        panel="rollouts",
        targets=("id", "server"),
    ),
    Order(
        name="resume-rollout",
        title="Resume the rollout of {server}",
        meaning="It goes on, with the step from its beginning.",
        button="Resume",
        done="The rollout goes on.",
        method="POST",
        path="/v1/rollouts/{id}/resume",
        panel="rollouts",
        targets=("id", "server"),
    ),
    Order(
        name="promote-rollout",
        title="Promote the new version of {server}",
        meaning="It gets everything now, whatever steps are left, and the old version's workers leave.",
        button="Promote",
        done="The new version gets everything.",
        method="POST",
        path="/v1/rollouts/{id}/promote",
        panel="rollouts",
        targets=("id", "server"),
        is_grave=True,
    ),
    Order(
        name="roll-back-rollout",
        title="Roll {server} back",
        meaning="The old version gets everything again now, and the rollout is over.",
        button="Roll back",
        done="The old version gets everything again.",
        method="POST",
        path="/v1/rollouts/{id}/rollback",
        panel="rollouts",
        targets=("id", "server"),
        is_grave=True,
    ),
)

ORDERS: Final = {
    order.name: order
    for order in (
        *_OF_WORKERS,
        *_OF_SERVERS,
        *_OF_BREAKERS,
        *_OF_THE_CACHE,
        *_OF_THE_CONFIGURATION,
        *_OF_ROLLOUTS,
    )
}
"""By name."""
