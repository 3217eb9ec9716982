"""What is wrong with a configuration: one line each, with the file and the key, never a secret."""

import difflib
import json
import re
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from pydantic import ValidationError

_PLAIN = re.compile(r"[A-Za-z0-9_.:/-]{1,64}\Z")
_WORD = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_SHOWN_VALUE_CHARACTERS = 40
_VALUE = re.compile(r" \(it is .*\)\Z", re.DOTALL)
"""What `_shown_value` writes."""


class ConfigError(Exception):
    """The configuration cannot be used, and none of it is applied.

    Its text is for the operator: a line for each problem, `FILE: KEY.PATH: what is wrong`.
    No value of a private key is ever in it.
    """

    def __init__(self, path: Path, problems: Sequence[str]) -> None:
        super().__init__("\n".join(f"{path}: {problem}" for problem in problems))
        self.path = path
        self.problems = tuple(problems)

    def without_values(self) -> list[str]:
        """Return the problems as they may leave the machine: the keys and what is wrong, no value, no file's name."""
        return [_VALUE.sub("", problem) for problem in self.problems]


def key_path(keys: Sequence[object], *, private: bool = False) -> str:
    """Return `keys` as `servers.database_mcp.env.TOKEN`.

    A key with unusual characters is quoted and cut; below a private key it is left out, since it
    may be a value in the wrong place.
    """
    return ".".join(_shown_key(str(key), private=private and depth > 2) for depth, key in enumerate(keys))


def unknown_key(key: str, known: Collection[str]) -> str:
    """Return the sentence about an unknown `key`, which names the nearest of the `known` ones.

    A key that is no plain word is not shown: in `{url:http://…}`, without the space, it is the URL.
    """
    nearest = difflib.get_close_matches(key, sorted(known), n=1, cutoff=0.0)[0]
    return f"unknown key {_shown_key(key, private=True)}; the nearest known one is {nearest}"


def validation_problems(
    error: ValidationError,
    *,
    located: Callable[[Sequence[object]], Sequence[object]],
    known: Collection[str],
    private: bool,
) -> list[str]:
    """Return a line for each problem that pydantic found, without the file's name.

    Args:
        error: raised by a model whose field names are the keys of the file.
        located: gives the path in the file of a path in the model.
        known: the keys of the one nested model that can hold an unknown key.
        private: whether values, and unusual names of keys, must not be shown.
    """
    problems: list[str] = []
    for detail in error.errors(include_url=False, include_context=False):
        keys = located([key for key in detail["loc"] if key != "[key]"])
        if detail["type"] == "extra_forbidden":
            where = key_path(keys[:-1], private=private)
            problems.append(f"{where}: {unknown_key(str(keys[-1]), known)}")
            continue
        where = key_path(keys, private=private)
        shown = "" if private else _shown_value(detail["input"])
        problems += [f"{where}: {sentence}{shown}" for sentence in _plain_words(detail["type"], detail["msg"])]
    return problems


def _plain_words(kind: str, message: str) -> list[str]:
    if kind == "value_error":
        return message.removeprefix("Value error, ").splitlines()
    if kind == "string_type":
        return ["must be text; put it in quotes"]
    if kind in {"dict_type", "model_type", "mapping_type"}:
        return ["must be a mapping of keys to values"]
    if kind in {"list_type", "tuple_type"}:
        return ["must be a list"]
    if kind == "missing":
        return ["is missing"]
    return [message.replace("Input should be", "must be")]


def _shown_key(key: str, *, private: bool) -> str:
    if private:
        return key if _WORD.match(key) else "…"
    return key if _PLAIN.match(key) else json.dumps(key[:_SHOWN_VALUE_CHARACTERS])


def _shown_value(value: object) -> str:
    if not isinstance(value, str | int | float):
        return ""
    text = json.dumps(value)
    return f" (it is {text})" if len(text) <= _SHOWN_VALUE_CHARACTERS else ""
