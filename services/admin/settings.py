"""The admin service's settings."""

from pathlib import Path

from pydantic import Field, NonNegativeFloat

from services.runtime.http_settings import HttpSettings
from services.runtime.settings import Port
from services.runtime.store_settings import StoreSettings


class AdminSettings(HttpSettings, StoreSettings):
    """Read once, at start, from BUSBAR_* variables."""

    admin_port: Port = Field(default=8082, description="Port to listen on; 0 takes any free one.")
    keys_file: Path | None = Field(default=None, description="The keys of callers, JSON lines.")
    state_dir: Path = Field(default=Path(".busbar"), description="Where the audit log is, if its file is not named.")
    audit_file: Path | None = Field(
        default=None, description="Who changed what, JSON lines; default: audit.jsonl in the state folder."
    )
    has_supervisor: bool = Field(
        default=False,
        description="Whether a supervisor starts the workers; without its answer nothing is reloaded then.",
    )
    announce_s: NonNegativeFloat = Field(default=0.0, description="Nobody routes by this service; it stops at once.")

    @property
    def audit_path(self) -> Path:
        """Where the audit log is."""
        return self.audit_file or self.state_dir / "audit.jsonl"
