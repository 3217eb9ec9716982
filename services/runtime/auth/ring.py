"""The keys in force: read from the keys file, and read anew within a second when it changes."""

import hmac
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from services.runtime.auth.keys import KeysFileError, digest, parse_line, read_lines
from services.runtime.auth.principals import Principal

log = logging.getLogger(__name__)

_CHECK_EVERY_S = 1.0
# A file that cannot be read says nothing about which keys were revoked, and a revocation is in force within 5 s:
# so the last keys hold for less than that, and then nobody is let in.
_KEEP_UNCONFIRMED_S = 3.0
_MAX_KEY_CHARACTERS = 512


class _Entry(NamedTuple):
    sha256: bytes
    expires_at: float | None  # seconds since the epoch
    principal: Principal


class KeyRing:
    """Finds the principal of a key. Costs a SHA-256 and a look-up, and once a second a `stat` of the file."""

    def __init__(
        self,
        path: Path,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Read `path`. A missing file is no error: nobody is let in until there is one."""
        self._path = path
        self._monotonic = monotonic
        self._wall = wall
        self._entries: dict[bytes, _Entry] = {}
        self._fingerprint: tuple[int, ...] | None = None
        self._confirmed_at = monotonic()
        self._check_at = self._confirmed_at
        self._failing = False
        self._refresh(self._confirmed_at)

    def find(self, text: str) -> Principal | None:
        """Return whom the key `text` stands for, or None if it is unknown, revoked or expired."""
        return None if len(text) > _MAX_KEY_CHARACTERS else self.find_digest(digest(text))

    def find_digest(self, presented: bytes) -> Principal | None:
        """Return whom the key stands for whose SHA-256 it is, or None as `find`: for who has shown the key before."""
        now = self._monotonic()
        if now >= self._check_at:
            self._refresh(now)
        entry = self._entries.get(_index(presented))
        if entry is None or not hmac.compare_digest(entry.sha256, presented):
            return None
        if entry.expires_at is not None and self._wall() >= entry.expires_at:
            return None
        return entry.principal

    def _refresh(self, now: float) -> None:
        self._check_at = now + _CHECK_EVERY_S
        try:
            if _fingerprint(self._path.stat()) != self._fingerprint or self._failing:
                self._read()
        except (OSError, KeysFileError):
            self._keep_or_drop(now)
        else:
            self._failing = False
            self._confirmed_at = now

    def _read(self) -> None:
        lines, status = read_lines(self._path)
        entries: dict[bytes, _Entry] = {}
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            key = parse_line(line)
            sha256 = bytes.fromhex(key.sha256) if key else b""
            if key is None or _index(sha256) in entries:
                log.error("a line of the keys file is not valid or repeats a key; skipped", extra={"line": number})
                continue
            expires_at = key.expires.timestamp() if key.expires else None
            entries[_index(sha256)] = _Entry(sha256, expires_at, key.principal())
        self._entries = entries
        self._fingerprint = _fingerprint(status)
        log.info("keys file read", extra={"keys": len(entries)})

    def _keep_or_drop(self, now: float) -> None:
        if not self._failing:
            log.error("the keys file cannot be read; soon nobody is let in")
            self._failing = True
        if now - self._confirmed_at > _KEEP_UNCONFIRMED_S:
            self._entries = {}


def _index(sha256: bytes) -> bytes:
    # A part of the digest finds the entry and the whole is compared in constant time, so that the time
    # of an answer tells nothing that could be built on.
    return sha256[:8]


def _fingerprint(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
