"""Names that travel on the bus: servers, versions, instances."""

import re
from typing import Annotated

from pydantic import AfterValidator, StringConstraints, WithJsonSchema

SERVER_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_SEMVER = (
    r"(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)"
    r"(?:-((?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)(?:\.(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*))*))?"
    r"(?:\+([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?"
)
SEMVER = re.compile(_SEMVER + r"\Z")


def server_name(name: str) -> str:
    """Return `name` if it can name a server.

    Raises:
        ValueError: it has other characters than letters, digits, `_` and `-`, is longer than 64, or holds `__`.
    """
    if not SERVER_NAME.match(name) or "__" in name:
        raise ValueError("a server's name is 1 to 64 letters, digits, '_' or '-', without '__'")
    return name


def semantic_version(version: str) -> str:
    """Return `version` if it is a Semantic Version (semver.org, 2.0.0) of at most 64 characters.

    Raises:
        ValueError: it is not.
    """
    if len(version) > 64 or not SEMVER.match(version):
        raise ValueError("a version is MAJOR.MINOR.PATCH, as on semver.org")
    return version


def version_token(version: str) -> str:
    """Return `version` as one token of a subject: `1.2.0` → `1_2_0` (SemVer has no `_`, so no two share a token)."""
    return version.replace(".", "_")


ServerName = Annotated[
    str,
    AfterValidator(server_name),
    # The same rule without a look-ahead, which linear-time engines do not have.
    WithJsonSchema({"type": "string", "pattern": "^(_?[A-Za-z0-9-])*_?$", "minLength": 1, "maxLength": 64}),
]
Version = Annotated[
    str,
    AfterValidator(semantic_version),
    WithJsonSchema({"type": "string", "pattern": f"^{_SEMVER}$", "maxLength": 64}),
]
InstanceId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]{1,64}$")]
