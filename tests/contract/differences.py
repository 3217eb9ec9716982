"""What a reader of one release would miss or misread in what another one writes."""

from collections.abc import Iterator

from tests.contract.message_set import Document, MessageSet

_ANNOTATIONS = {"title", "description", "default", "examples"}
_OPEN = {"error headers.mcp-code", "problem payload.code"}
"""Lists that may grow: whoever reads a code that it does not know takes it for `upstream_error`."""
_NARROWED = {("pattern", "^[0-9]+$"): "^[0-9]{1,15}$"}
"""Rules that have changed so that whatever fits the new one fits the old one."""


def differences(before: MessageSet, now: MessageSet) -> Iterator[str]:
    """Yield what has become of subjects, messages and fields that `before` knows; nothing for what is new."""
    for name, channel in before.channels.items():
        if name not in now.channels:
            yield f"the channel {name} is gone"
        elif now.channels[name]["address"] != channel["address"]:
            yield f"the channel {name} is elsewhere"
        elif gone := channel["messages"].keys() - now.channels[name]["messages"].keys():
            yield f"the channel {name} does not carry {', '.join(sorted(gone))} any more"
    for name, message in before.messages.items():
        for part in ("headers", "payload"):
            if part in message:
                yield from _of_schemas(f"{name} {part}", message[part], now.messages.get(name, {}).get(part, {}))


def _of_schemas(where: str, before: Document, now: Document) -> Iterator[str]:
    if "properties" in before:
        yield from _of_fields(where, before, now)
    elif "items" in before:
        yield from _of_schemas(f"{where}[]", before["items"], now.get("items", {}))
    elif "anyOf" in before and len(before["anyOf"]) == len(now.get("anyOf", ())):
        for old, new in zip(before["anyOf"], now["anyOf"], strict=True):
            yield from _of_schemas(where, old, new)
    elif "enum" in before and "enum" in now:
        added = [value for value in now["enum"] if value not in before["enum"]]
        if added and where not in _OPEN:
            yield f"{where} may be {', '.join(map(str, added))}"
    else:
        yield from _of_rules(where, before, now)


def _of_fields(where: str, before: Document, now: Document) -> Iterator[str]:
    for name, schema in before["properties"].items():
        if name not in now.get("properties", {}):
            yield f"{where}.{name} is gone"
            continue
        if name in before.get("required", ()) and name not in now.get("required", ()):
            yield f"{where}.{name} may be missing"
        yield from _of_schemas(f"{where}.{name}", schema, now["properties"][name])


def _of_rules(where: str, before: Document, now: Document) -> Iterator[str]:
    """Compare what is neither an object nor a list; a rule more than before only makes what is written narrower."""
    for name, rule in before.items():
        if name not in _ANNOTATIONS and now.get(name) not in (rule, _NARROWED.get((name, str(rule)), rule)):
            yield f"{where} has lost its {name} {rule!r}"
