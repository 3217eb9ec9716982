"""The settings of a resource server of OAuth 2.1: whose access tokens count, and for what."""

from functools import partial
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, StringConstraints, field_validator
from pydantic_core.core_schema import ValidationInfo

from services.runtime.auth.authentication import is_loopback_only
from services.runtime.auth.issuer import Issuer
from services.runtime.auth.tokens import TokenRules
from services.runtime.http_settings import CommaSeparated
from services.runtime.settings import CommonSettings

Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
_ALGORITHMS: Final[tuple[Algorithm, ...]] = ("RS256", "PS256", "ES256", "ES384", "EdDSA")
_PREFIX: Final = r"^[\x21\x23-\x5b\x5d-\x7e]{0,32}$"
"""What a scope may hold. Source: RFC 6749, section 3.3."""


def _trustworthy(url: str) -> str:
    """Return the URL if nobody on the way can change what is behind it."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        raise ValueError("is no URL") from None
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback_only([host])):
        raise ValueError("must begin with https:// (http:// only on loopback)")
    if not host or parts.query or parts.fragment or parts.username is not None:
        raise ValueError("must be a URL without user, query and fragment")
    return url


class OAuthSettings(CommonSettings):
    """Read once, at start, from BUSBAR_OAUTH_* variables. Without an issuer there are keys only."""

    oauth_issuer: str | None = Field(
        default=None, description="The authorization server whose tokens count, exactly as it names itself."
    )
    oauth_resource: str | None = Field(
        default=None,
        validate_default=True,
        description="Under which URL callers reach the orchestrators, without a path: what tokens are to be for.",
    )
    oauth_audience: CommaSeparated = Field(
        default=(), description="Other audiences whose tokens count as being for all of us; commas between."
    )
    oauth_jwks_url: str | None = Field(
        default=None, description="Where the issuer's keys are; default: where its own metadata says."
    )
    oauth_algorithms: Annotated[CommaSeparated, Field(min_length=1)] = Field(
        default=_ALGORITHMS, description="With which tokens may be signed; commas between. Never HS*, nor none."
    )
    oauth_scope_claims: CommaSeparated = Field(
        default=("scope", "scp"), description="In which claims the scopes are, as a text or a list; commas between."
    )
    oauth_scope_prefix: Annotated[str, StringConstraints(pattern=_PREFIX)] = Field(
        default="busbar:", description="With what those of the scopes begin that are meant for us."
    )
    oauth_refresh_s: PositiveFloat = Field(default=300, description="How often the issuer's keys are read anew.")
    oauth_keep_s: PositiveFloat = Field(
        default=86_400, description="How long the keys hold while the issuer does not answer."
    )
    oauth_leeway_s: NonNegativeFloat = Field(default=30, description="How far the issuer's clock may be off.")
    oauth_rate_per_s: PositiveFloat | None = Field(default=None, description="Queries a second of each subject.")
    oauth_max_in_flight: PositiveInt | None = Field(default=None, description="Queries at once of each subject.")

    @field_validator("oauth_issuer", "oauth_jwks_url")
    @classmethod
    def _is_trustworthy(cls, url: str | None) -> str | None:
        return None if url is None else _trustworthy(url)

    @field_validator("oauth_resource")
    @classmethod
    def _goes_with_issuer(cls, url: str | None, info: ValidationInfo) -> str | None:
        if (url is None) != (info.data.get("oauth_issuer") is None):
            raise ValueError("BUSBAR_OAUTH_ISSUER and BUSBAR_OAUTH_RESOURCE go together")
        if url is not None and urlsplit(_trustworthy(url)).path.strip("/"):
            raise ValueError("must be a URL without a path")
        return None if url is None else url.rstrip("/")

    @field_validator("oauth_algorithms")
    @classmethod
    def _are_asymmetric(cls, algorithms: tuple[str, ...]) -> tuple[str, ...]:
        known = Algorithm.__args__  # type: ignore[attr-defined]
        if not set(algorithms) <= set(known):
            raise ValueError(f"must be of {', '.join(known)}")
        return algorithms

    @property
    def token_rules(self) -> TokenRules | None:
        """What makes a token a good one; None where only keys count."""
        if self.oauth_issuer is None or self.oauth_resource is None:
            return None
        return TokenRules(
            issuer=self.oauth_issuer,
            resource=self.oauth_resource,
            audiences=frozenset(self.oauth_audience),
            algorithms=frozenset(self.oauth_algorithms),
            scope_claims=self.oauth_scope_claims,
            scope_prefix=self.oauth_scope_prefix,
            leeway_s=self.oauth_leeway_s,
            rate_per_s=self.oauth_rate_per_s,
            max_in_flight=self.oauth_max_in_flight,
        )

    def issuer(self) -> Issuer | None:
        """Return the issuer, of whom nothing is known yet; None where only keys count."""
        if self.oauth_issuer is None:
            return None
        from services.runtime.auth.jwks import fetch_keys  # noqa: PLC0415 - who has no issuer does not pay for httpx

        fetch = partial(fetch_keys, self.oauth_issuer, self.oauth_jwks_url)
        return Issuer(fetch, refresh_s=self.oauth_refresh_s, keep_s=self.oauth_keep_s)
