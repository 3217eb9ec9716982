"""Reads YAML or JSON as plain data, and tells what is wrong by line, never by content."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import yaml

_MAX_DEPTH = 32
_MAX_NODES = 100_000  # aliases let a small file stand for an enormous one
_TAG = "tag:yaml.org,2002:"
_SCALARS: Mapping[str, Callable[[yaml.constructor.SafeConstructor, yaml.ScalarNode], object]] = {
    f"{_TAG}int": yaml.constructor.SafeConstructor.construct_yaml_int,
    f"{_TAG}float": yaml.constructor.SafeConstructor.construct_yaml_float,
    f"{_TAG}bool": yaml.constructor.SafeConstructor.construct_yaml_bool,
    f"{_TAG}null": yaml.constructor.SafeConstructor.construct_yaml_null,
}
_TEXTS = frozenset({f"{_TAG}str", f"{_TAG}timestamp", f"{_TAG}value"})
_KINDS = {f"{_TAG}int": "a number", f"{_TAG}float": "a number", f"{_TAG}bool": "true or false", f"{_TAG}null": "null"}


class SyntaxProblemError(ValueError):
    """The text is not YAML, or not JSON, that can be used. Its own text holds nothing of the file's content."""


def parse_yaml(text: str) -> object:
    """Return the one document in `text` as dicts with text keys, lists, text, numbers, booleans and None.

    Anchors and merge keys work. Dates stay text.

    Raises:
        SyntaxProblemError: not YAML, a duplicate key, a key that is no text, a tag, or too large or deep.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        raise SyntaxProblemError(f"is not valid YAML: {_problem(error)}") from None
    except yaml.YAMLError:
        raise SyntaxProblemError("is not valid YAML: it holds a character that YAML does not allow") from None
    except RecursionError:
        raise SyntaxProblemError("is nested too deeply") from None
    return None if node is None else _Construction().data(node)


def parse_json(text: str) -> object:
    """Return the JSON value in `text`.

    Raises:
        SyntaxProblemError: not JSON, a duplicate key, or nested too deeply.
    """
    try:
        data = json.loads(text, object_pairs_hook=_without_duplicates, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise SyntaxProblemError(f"is not valid JSON (line {error.lineno}, column {error.colno})") from None
    except RecursionError:
        raise SyntaxProblemError("is nested too deeply") from None
    except SyntaxProblemError:
        raise
    except ValueError:
        raise SyntaxProblemError("is not valid JSON: a number is too long") from None
    _check_depth(data, _MAX_DEPTH)
    return data


class _Construction:
    """Turns nodes into data; PyYAML's own constructor lets duplicate keys pass and quotes content in its errors."""

    def __init__(self) -> None:
        self._constructor = yaml.constructor.SafeConstructor()
        self._nodes = 0

    def data(self, node: yaml.Node, depth: int = 0) -> object:
        self._nodes += 1
        if depth > _MAX_DEPTH or self._nodes > _MAX_NODES:
            raise SyntaxProblemError(f"line {_line(node)}: is nested too deeply or refers to itself too often")
        if isinstance(node, yaml.MappingNode) and node.tag == f"{_TAG}map":
            return self._mapping(node, depth)
        if isinstance(node, yaml.SequenceNode) and node.tag == f"{_TAG}seq":
            return [self.data(item, depth + 1) for item in node.value]
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        raise SyntaxProblemError(f"line {_line(node)}: YAML tags are not allowed")

    def _scalar(self, node: yaml.ScalarNode) -> object:
        if node.tag in _TEXTS:
            return node.value
        if node.tag not in _SCALARS:
            raise SyntaxProblemError(f"line {_line(node)}: YAML tags are not allowed")
        try:
            return _SCALARS[node.tag](self._constructor, node)
        except (ValueError, LookupError):
            raise SyntaxProblemError(f"line {_line(node)}: the value does not fit its tag") from None

    def _mapping(self, node: yaml.MappingNode, depth: int) -> dict[str, object]:
        own: dict[str, object] = {}
        merged: dict[str, object] = {}
        for key, value in node.value:
            if key.tag == f"{_TAG}merge":
                merged = self._merge(value, depth) | merged
                continue
            if key.tag not in _TEXTS or not isinstance(key, yaml.ScalarNode):
                kind = _KINDS.get(key.tag)
                why = f"YAML reads this key as {kind}; put it in quotes" if kind else "a key must be text"
                raise SyntaxProblemError(f"line {_line(key)}: {why}")
            if key.value in own:
                raise SyntaxProblemError(f"line {_line(key)}: this key appears twice in its mapping")
            own[key.value] = self.data(value, depth + 1)
        return merged | own

    def _merge(self, node: yaml.Node, depth: int) -> dict[str, object]:
        """Return the keys that `<<` brings in; of several mappings the first one wins."""
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        merged: dict[str, object] = {}
        for source in sources:
            data = self.data(source, depth + 1)
            if not isinstance(data, dict):
                raise SyntaxProblemError(f"line {_line(node)}: '<<' needs a mapping")
            merged = data | merged
        return merged


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _problem(error: yaml.MarkedYAMLError) -> str:
    # From the first quote on PyYAML cites the file, and that may be a password that begins with `*` or `!`.
    what = (error.problem or "it cannot be read").partition("'")[0].partition('"')[0].strip().rstrip(",")
    mark = error.problem_mark
    return f"{what} (line {mark.line + 1}, column {mark.column + 1})" if mark else what


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        raise SyntaxProblemError("a key appears twice in one of its objects")
    return mapping


def _no_constant(_: str) -> None:
    raise SyntaxProblemError("NaN and Infinity are not JSON")


def _check_depth(data: object, levels: int) -> None:
    if levels < 0:
        raise SyntaxProblemError("is nested too deeply")
    if isinstance(data, dict | list):
        for item in data.values() if isinstance(data, dict) else data:
            _check_depth(item, levels - 1)
