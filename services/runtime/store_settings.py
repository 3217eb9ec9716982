"""What the settings of every service that uses the shared store have in common."""

from pydantic import Field, SecretStr

from services.runtime.settings import CommonSettings


class StoreSettings(CommonSettings):
    """Where the store is."""

    redis_url: SecretStr | None = Field(
        default=None, description="Redis or Valkey: redis://, rediss:// or unix://; none: nothing is cached or kept."
    )

    @property
    def store_url(self) -> str | None:
        """The URL of the store, with its password; None where there is none."""
        return (self.redis_url.get_secret_value() or None) if self.redis_url else None
