"""Reads the configuration file, and parts each server's public keys from the private ones."""

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from services.runtime.config.errors import ConfigError, key_path, unknown_key
from services.runtime.config.policy import ServerPolicy
from services.runtime.config.syntax import SyntaxProblemError, parse_json, parse_yaml

PUBLIC_KEYS = frozenset(ServerPolicy.model_fields)
PRIVATE_KEYS = frozenset({"args", "command", "cwd", "env", "headers", "oauth", "transport", "url"})
_DESKTOP_KEYS = frozenset({"alwaysAllow", "autoApprove", "description", "timeout", "type"})  # accepted and unused
# Only below `mcpServers` are the unused ones accepted: below `servers` a `timeout` is a mistyped `timeout_s`.
_KNOWN_KEYS: Mapping[str, frozenset[str]] = {
    "servers": PUBLIC_KEYS | PRIVATE_KEYS,
    "mcpServers": PUBLIC_KEYS | PRIVATE_KEYS | _DESKTOP_KEYS,
}
_MAX_BYTES = 1 << 20


@dataclass(frozen=True)
class Entry:
    """One server's keys as the file has them, not yet checked but for their names."""

    section: str
    public: Mapping[str, object]
    private: Mapping[str, object] = field(repr=False)


@dataclass(frozen=True)
class Document:
    """The file, read once: what is made from one document fits together."""

    path: Path
    entries: Mapping[str, Entry]

    def located(self, keys: Sequence[object]) -> Sequence[object]:
        """Return the path in the file of `keys`, a path in `Policy`: the server may be in another section."""
        entry = self.entries.get(str(keys[1])) if len(keys) > 1 else None
        return (entry.section, *keys[1:]) if entry else keys


def read_document(path: Path) -> Document:
    """Read `path`, a YAML file (JSON if its name ends in `.json`) of at most 1 MiB.

    Raises:
        ConfigError: it cannot be read, others may write to it, or a key is unknown.
    """
    text = _read_text(path)
    try:
        data = parse_json(text) if path.suffix.lower() == ".json" else parse_yaml(text)
    except SyntaxProblemError as error:
        raise ConfigError(path, [str(error)]) from None
    if not isinstance(data, dict) or not data.keys() & _KNOWN_KEYS.keys():
        raise ConfigError(path, ["has no key 'servers' (nor 'mcpServers') at its top"])
    problems = [unknown_key(key, _KNOWN_KEYS) for key in data if key not in _KNOWN_KEYS]
    entries: dict[str, Entry] = {}
    for section in [section for section in _KNOWN_KEYS if section in data]:
        problems += _collect(section, data[section], entries)
    if problems:
        raise ConfigError(path, problems)
    return Document(path=path, entries=entries)


def _collect(section: str, servers: object, entries: dict[str, Entry]) -> Iterator[str]:
    """Add the servers of one section to `entries`; yield what is wrong with them."""
    if not isinstance(servers, dict):
        yield f"{section}: must be a mapping of server names to their keys"
        return
    known = _KNOWN_KEYS[section]
    for name, keys in servers.items():
        where = key_path((section, name))
        if name in entries:
            yield f"{where}: is in 'servers' too"
        elif not isinstance(keys, dict | None):
            yield f"{where}: must be a mapping of keys to values"
        else:
            yield from (f"{where}: {unknown_key(key, known)}" for key in keys or {} if key not in known)
            entries[name] = Entry(
                section=section,
                public={key: value for key, value in (keys or {}).items() if key in PUBLIC_KEYS},
                private={key: value for key, value in (keys or {}).items() if key in PRIVATE_KEYS},
            )


def _read_text(path: Path) -> str:
    try:
        with open(path, "rb", opener=_opened_without_waiting) as file:
            status = os.fstat(file.fileno())
            content = file.read(_MAX_BYTES + 1) if stat.S_ISREG(status.st_mode) else b""
    except FileNotFoundError:
        raise ConfigError(path, ["there is no such file"]) from None
    except OSError as error:
        raise ConfigError(path, [f"cannot be read: {error.strerror}"]) from None
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(path, ["is not a regular file"])
    if status.st_mode & stat.S_IWOTH:
        raise ConfigError(path, ["everyone may write to it, and so run commands as us; chmod o-w it"])
    if len(content) > _MAX_BYTES:
        raise ConfigError(path, ["is larger than 1 MiB"])
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(path, ["is not UTF-8 text"]) from None


def _opened_without_waiting(path: str, flags: int) -> int:
    # A named pipe would else hold us until somebody writes to it.
    return os.open(path, flags | os.O_NONBLOCK)
