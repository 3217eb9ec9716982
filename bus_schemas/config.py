"""Reading the configuration anew, in two phases, and the orders of `busbar deploy` to the supervisor.

Each process reads its own file: neither a URL nor a command travels. First everybody says what it would put into force
(`mcp.v1.control.config`, and `mcp.v1.control.supervisor`), and if all say the same, everybody is told to.
"""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, TypeAdapter

from bus_schemas.control import Acknowledged
from bus_schemas.envelope import Message
from bus_schemas.names import InstanceId, ServerName, Version

ServiceKind = Literal["orchestrator", "health", "admin", "supervisor", "worker"]
StopOutcome = Literal["stopped", "under_way", "not_deployed"]


class PrepareConfig(Message):
    """Asks for the digest of the configuration that is now in the file, checked whole; nothing is changed."""

    order: Literal["prepare_config"] = "prepare_config"


class ConfigPrepared(Message):
    """The answer to PrepareConfig."""

    instance: InstanceId
    service: ServiceKind
    digest: str | None = Field(
        default=None, description="Of the public part, in hex. None: it is not valid, or only a worker's own part."
    )
    problems: list[str] = Field(default_factory=list, description="`key.path: what is wrong`, without any value.")
    added: list[ServerName] = Field(default_factory=list, description="Compared with what is in force there.")
    removed: list[ServerName] = Field(default_factory=list)
    changed: list[ServerName] = Field(
        default_factory=list, description="Whose policy is another; to supervisors, also how they are reached."
    )
    undeployed: list[ServerName] = Field(
        default_factory=list, description="Servers whose version in the file waits for a deploy; only supervisors say."
    )


class ApplyConfig(Message):
    """Tells to put the configuration with this digest into force."""

    order: Literal["apply_config"] = "apply_config"
    digest: str


class ConfigApplied(Acknowledged):
    """It is in force in this process."""

    service: ServiceKind


class DeployServer(Message):
    """Tells the supervisor to start workers for the version of a server that is now in a file."""

    order: Literal["deploy_server"] = "deploy_server"
    server: ServerName
    config_file: str = Field(description="Its absolute path on the supervisor's machine.")


class DeploymentAnswer(Message):
    """What became of DeployServer: started (or running already), or why not."""

    instance: InstanceId
    from_version: Version | None = None
    to_version: Version | None = None
    workers: NonNegativeInt = Field(default=0, description="How many of the new version there shall be.")
    problems: list[str] = Field(default_factory=list, description="Why nothing was started.")


class StopVersion(Message):
    """Tells the supervisor to drain and stop a version that is being deployed, unless its rollout goes on."""

    order: Literal["stop_version"] = "stop_version"
    server: ServerName
    version: Version | None = Field(default=None, description="None: whichever is being deployed.")


class StopAnswer(Acknowledged):
    """What became of StopVersion."""

    outcome: StopOutcome = Field(
        description="`under_way`: its rollout goes on, and decides. `not_deployed`: it is not being deployed."
    )


SupervisorOrder = PrepareConfig | ApplyConfig | DeployServer | StopVersion
_OF_SUPERVISOR: TypeAdapter[SupervisorOrder] = TypeAdapter(Annotated[SupervisorOrder, Field(discriminator="order")])

ConfigOrder = PrepareConfig | ApplyConfig
_OF_CONFIG: TypeAdapter[ConfigOrder] = TypeAdapter(Annotated[ConfigOrder, Field(discriminator="order")])


def decode_config_order(data: bytes) -> ConfigOrder:
    """Return the order that `data` holds.

    Raises:
        ValueError: it is not an order of this release or its neighbours.
    """
    return _OF_CONFIG.validate_json(data)


def decode_supervisor_order(data: bytes) -> SupervisorOrder:
    """As `decode_config_order`, of the orders on `mcp.v1.control.supervisor`."""
    return _OF_SUPERVISOR.validate_json(data)
