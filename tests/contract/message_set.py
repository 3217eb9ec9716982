"""What one release says on the bus, by its AsyncAPI document; and any message as that release knows it."""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

Document = dict[str, Any]

RELEASES = Path(__file__).parent / "releases"
_INBOX = "_INBOX"
_PARAMETER = re.compile(r"\\{\w+\\}")


class Known(NamedTuple):
    """A message of which nothing is left but what a release knows."""

    name: str
    """In the document."""
    headers: dict[str, str] | None
    payload: bytes
    is_whole: bool
    """Whether nothing was cut off."""


class MessageSet:
    """Every subject, message, header and field of a release."""

    def __init__(self, document: Document) -> None:
        """Take an AsyncAPI document as `bus_schemas.asyncapi` writes it."""
        self.document = document
        messages = document["components"]["messages"]
        self.messages: dict[str, Document] = {name: self._without_references(one) for name, one in messages.items()}
        """By name, with `headers` and `payload` as JSON Schemas that refer to nothing."""
        self.channels: dict[str, Document] = document["channels"]
        self._on_subjects = [
            (re.compile(_PARAMETER.sub("[^.]+", re.escape(channel["address"]))), list(channel["messages"]))
            for channel in self.channels.values()
            if channel["address"] is not None
        ]
        self._replies = {
            name for channel in self.channels.values() if channel["address"] is None for name in channel["messages"]
        }

    @classmethod
    def of_release_before(cls) -> Self:
        """Return the tagged message set, of the one document there is."""
        (path,) = RELEASES.glob("*.json")
        return cls(json.loads(path.read_bytes()))

    def has_subject(self, subject: str) -> bool:
        """Whether the release speaks, or listens, on `subject`."""
        return subject.startswith(_INBOX) or any(address.fullmatch(subject) for address, _ in self._on_subjects)

    def known(self, subject: str, headers: Mapping[str, str] | None, payload: bytes) -> Known | None:
        """Return the message as the release knows it; None where it has no such message.

        Args:
            subject: where it is sent. On an inbox every reply may come.
            headers: as sent; None or empty: there are none.
            payload: as sent. It stays the same, byte for byte, where nothing in it is cut.
        """
        for name in self._names_on(subject, has_headers=bool(headers)):
            schemas = self.messages[name]
            about = schemas.get("headers", {})
            if not _fits(about, headers or {}):
                continue
            if "properties" not in schemas.get("payload", {}):
                content, cut_content = None, None
            else:
                content = _json(payload)
                if not _fits(schemas["payload"], content):
                    continue
                cut_content = cut(schemas["payload"], content)
            cut_headers = {header: value for header, value in (headers or {}).items() if _has(about, header)}
            is_whole = cut_headers == dict(headers or {}) and cut_content == content
            cut_payload = payload if cut_content == content else json.dumps(cut_content).encode()
            return Known(name, cut_headers or None, cut_payload, is_whole)
        return None

    def _names_on(self, subject: str, *, has_headers: bool) -> Iterable[str]:
        if subject.startswith(_INBOX):
            # The most specific first: an acknowledgement has nothing that would set it apart.
            names = [name for name in self._replies if ("headers" in self.messages[name]) == has_headers]
            return sorted(names, key=lambda name: -len(_constants(self.messages[name].get("payload", {}))))
        return [name for address, names in self._on_subjects if address.fullmatch(subject) for name in names]

    def _without_references(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._without_references(inner) for inner in value]
        if not isinstance(value, dict):
            return value
        if isinstance(reference := value.get("$ref"), str):
            found: Any = self.document
            for step in reference.removeprefix("#/").split("/"):
                found = found[step]
            return self._without_references({**found, **{name: one for name, one in value.items() if name != "$ref"}})
        return {name: self._without_references(inner) for name, inner in value.items()}


def cut(schema: Document, value: Any, *, to_required: bool = False) -> Any:
    """Return `value` without the fields that `schema` does not name; with `to_required`, without those it can miss.

    An object of which the schema names no field (a tool's definition, a result) stays whole.
    """
    options = [option for option in schema.get("anyOf", ()) if option.get("type") != "null"]
    if len(options) == 1:
        return None if value is None else cut(options[0], value, to_required=to_required)
    if isinstance(value, list) and "items" in schema:
        return [cut(schema["items"], one, to_required=to_required) for one in value]
    if not isinstance(value, dict) or "properties" not in schema:
        return value
    required = schema.get("required", ())
    return {
        name: cut(schema["properties"].get(name, {}), one, to_required=to_required)
        for name, one in value.items()
        if _has(schema, name) and (name in required or not to_required)
    }


def _json(payload: bytes) -> Any:
    try:
        return json.loads(payload)
    except ValueError:
        return None


def _constants(schema: Document) -> dict[str, Any]:
    return {name: one["const"] for name, one in schema.get("properties", {}).items() if "const" in one}


def _fits(schema: Document, fields: Any) -> bool:
    """Whether what must be there is there, and what sets the message apart is as it must be."""
    if not isinstance(fields, Mapping):
        return False
    has_all = all(name in fields for name in schema.get("required", ()))
    return has_all and all(fields[name] == constant for name, constant in _constants(schema).items() if name in fields)


def _has(schema: Document, name: str) -> bool:
    patterns = schema.get("patternProperties", {})
    return name in schema.get("properties", {}) or any(re.search(pattern, name) for pattern in patterns)
