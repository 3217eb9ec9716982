"""Puts the values of environment variables into a text: `${VARIABLE}` and `${VARIABLE:-default}`."""

import re
from collections.abc import Mapping
from pathlib import Path

_REFERENCE = re.compile(
    r"(?P<literal>\$\$\{)"  # `$${` stands for `${` itself
    r"|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^{}]*))?\}"
    r"|(?P<malformed>\$\{)"
)


class UnsetVariableError(ValueError):
    """A variable has no value here: it is not set and has no default, or the file it comes from cannot be read."""


def expand(text: str, environ: Mapping[str, str]) -> str:
    """Return `text` with its references replaced, once: what a variable holds is not expanded again.

    A variable that is not set may come from a file, as those of Busbar itself: `VARIABLE_FILE` names it, and its
    first line is the value. The default stands for a variable that is unset or empty, as in a shell.

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
        found = environ[name] if name in environ else _from_file(f"{name}_FILE", environ)
        if default is not None:
            return found or default
        if found is None:
            raise UnsetVariableError(f"the environment variable {name} is not set")
        return found

    return _REFERENCE.sub(value, text)


def _from_file(variable: str, environ: Mapping[str, str]) -> str | None:
    """Return the first line of the file that `variable` names; None if it names none."""
    path = environ.get(variable)
    if not path:
        return None
    try:
        return Path(path).read_text(encoding="utf-8").partition("\n")[0].strip()
    except (OSError, ValueError):
        # Not even the path is told: it may be the secret itself, in the wrong variable.
        raise UnsetVariableError(f"the file that the environment variable {variable} names cannot be read") from None
