"""What the settings of every service share."""

import os
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, Field, FilePath, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings.sources import NoDecode

from services.runtime.credentials import Credentials
from services.runtime.nkeys import UserNkey

__all__ = ["CommonSettings", "NoDecode", "Port"]

Port = Annotated[int, Field(ge=0, le=65535)]

SettingsT = TypeVar("SettingsT", bound="CommonSettings")


def _user_seed(text: SecretStr) -> SecretStr:
    UserNkey(text.get_secret_value())
    return text


class SettingsError(Exception):
    """Variables that cannot be used: a line for each, with its name and without its value."""


class _SecretFiles(EnvSettingsSource):
    """`BUSBAR_NATS_URL_FILE=/run/secrets/nats_url`: the value is the file's first line."""

    def prepare_field_value(self, field_name: str, field: object, value: object, value_is_complex: bool) -> object:
        variable = f"{self.env_prefix}{field_name.upper()}_FILE"
        if value is None and (path := os.environ.get(variable)):
            try:
                return Path(path).read_text(encoding="utf-8").partition("\n")[0].strip()
            except (OSError, UnicodeDecodeError) as error:
                raise SettingsError(f"{variable}: the file that it names cannot be read") from error
        return super().prepare_field_value(field_name, field, value, value_is_complex)  # type: ignore[arg-type]


class CommonSettings(BaseSettings):
    """Read once, at start, from BUSBAR_* variables; each may come from the file that BUSBAR_…_FILE names."""

    model_config = SettingsConfigDict(env_prefix="BUSBAR_", frozen=True, extra="ignore")

    config: Path = Field(default=Path("busbar.yaml"), description="The configuration file.")
    nats_url: SecretStr = Field(default=SecretStr("nats://127.0.0.1:4222"), description="NATS, several by commas.")
    nats_nkey: Annotated[SecretStr, AfterValidator(_user_seed)] | None = Field(
        default=None, description="The seed of the nkey to show NATS who we are; none: what the URL says."
    )
    nats_ca_file: FilePath | None = Field(
        default=None, description="PEM: who signs NATS's certificate; none: whom the machine trusts, with tls:// URLs."
    )
    nats_cert_file: FilePath | None = Field(default=None, description="PEM: our certificate, if NATS wants one.")
    nats_key_file: FilePath | None = Field(default=None, description="PEM: its key, if it is in a file of its own.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(default="INFO", description="Of our own log.")

    @property
    def nats_credentials(self) -> Credentials:
        """With what we show NATS who we are, the seed in clear."""
        seed = self.nats_nkey.get_secret_value() if self.nats_nkey else None
        return Credentials(seed, self.nats_ca_file, self.nats_cert_file, self.nats_key_file)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, _SecretFiles(settings_cls)


def read_settings(settings_class: type[SettingsT]) -> SettingsT:
    """Return the settings from the environment.

    Raises:
        SettingsError: a variable cannot be used.
    """
    try:
        return settings_class()
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False, include_context=False)
        raise SettingsError("; ".join(f"BUSBAR_{str(one['loc'][0]).upper()}: {one['msg']}" for one in wrong)) from error
