"""Puts the values of environment variables into a text: `${VARIABLE}` and `${VARIABLE:-default}`."""

import re
from collections.abc import Mapping

_REFERENCE = re.compile(
    r"(?P<literal>\$\$\{)"  # `$${` stands for `${` itself
    r"|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^{}]*))?\}"
    r"|(?P<malformed>\$\{)"
)


class UnsetVariableError(ValueError):
    """A variable without a default is not set."""


def expand(text: str, environ: Mapping[str, str]) -> str:
    """Return `text` with its references replaced, once: what a variable holds is not expanded again.

    The default stands for a variable that is unset or empty, as in a shell.

    Raises:
        UnsetVariableError: names the variable.
        ValueError: a `${` that begins no reference. Neither text shows any of `text` but a variable's name.
    """

    def value(reference: re.Match[str]) -> str:
        if reference["literal"]:
            return "${"
        if reference["malformed"]:
            raise ValueError("a '${' is not followed by NAME} or NAME:-default} (for a plain '${' write '$${')")
        name, default = reference["name"], reference["default"]
        if default is not None:
            return environ.get(name) or default
        if name not in environ:
            raise UnsetVariableError(f"the environment variable {name} is not set")
        return environ[name]

    return _REFERENCE.sub(value, text)
