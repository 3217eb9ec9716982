"""What a caller asks and is answered, over HTTP and over NATS alike."""

from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StrictInt, model_validator
from pydantic.types import StringConstraints
from pydantic_core import PydanticCustomError

from bus_schemas.names import ServerName

MAX_BODY_BYTES = 1024 * 1024
MAX_TIMEOUT_MS = 300_000
MAX_RESULT_BYTES = 16 * 1024 * 1024

Name = Annotated[str, StringConstraints(min_length=1, max_length=1024, strict=True)]
Uri = Annotated[str, StringConstraints(min_length=1, max_length=8192, strict=True)]


class CacheMode(StrEnum):
    """What the caller wants of the cache."""

    DEFAULT = "default"
    BYPASS = "bypass"
    REFRESH = "refresh"


class CacheUse(StrEnum):
    """What the cache did for an answer."""

    HIT = "hit"
    MISS = "miss"
    STALE = "stale"
    COALESCED = "coalesced"
    BYPASS = "bypass"
    REFRESH = "refresh"
    OFF = "off"


class Query(BaseModel):
    """One tool call, one resource read or one prompt, on one logical server."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={
            "oneOf": [{"required": ["tool"]}, {"required": ["resource"]}, {"required": ["prompt"]}],
            "examples": [
                {
                    "server": "product_metadata_mcp",
                    "tool": "resolve_product",
                    "arguments": {"alias": "abracadabra"},
                    "timeout_ms": 5000,
                }
            ],
        },
    )

    server: ServerName | None = Field(
        default=None,
        description="The logical server; left out, the one server or group that offers the tool is asked.",
    )
    tool: Name | None = None
    resource: Uri | None = Field(default=None, description="The URI of a resource to read.")
    prompt: Name | None = None
    arguments: dict[str, Any] = Field(default_factory=dict, description="For a tool or a prompt.")
    timeout_ms: Annotated[StrictInt, Field(ge=1, le=MAX_TIMEOUT_MS)] = 30_000
    cache: CacheMode = CacheMode.DEFAULT
    input_responses: dict[str, Any] | None = Field(
        default=None, description="Continues a result whose resultType is input_required."
    )
    request_state: str | None = Field(default=None, description="As the input_required result gave it.")

    @model_validator(mode="after")
    def _asks_for_one_thing(self) -> Self:
        if (self.tool is not None) + (self.resource is not None) + (self.prompt is not None) != 1:
            raise PydanticCustomError("oneOf", "exactly one of tool, resource and prompt")
        if self.resource is not None and self.arguments:
            raise PydanticCustomError("not", "a resource takes no arguments")
        return self

    @property
    def target(self) -> str:
        """The tool's or prompt's name, or the resource's URI."""
        return self.tool or self.prompt or self.resource or ""


class Timing(BaseModel):
    """Where the time went, in milliseconds."""

    total: float
    upstream: float = Field(description="In the MCP server.")
    queue: float = Field(description="Waiting for a slot of a worker.")


class Answer(BaseModel):
    """The answer to a query. `result` is the MCP server's own result object, unchanged.

    This model documents the shape; the answer itself is written around the result's own bytes.
    """

    id: str = Field(examples=["01KAVSFC3C8Q6T2V5M8R4N7W1X"])
    server: str
    version: str
    instance: str
    cache: CacheUse
    attempts: int
    timing_ms: Timing
    result: dict[str, Any] = Field(examples=[{"content": [], "structuredContent": {}, "isError": False}])
