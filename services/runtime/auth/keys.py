"""The keys file: JSON lines, each with the SHA-256 of a key and its rights; a key itself is never stored."""

import contextlib
import hashlib
import os
import secrets
import stat
import tempfile
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from services.runtime.auth.principals import RESERVED_IDS, Principal, Scope
from services.runtime.file_lock import lock_file

_MAX_BYTES = 16 << 20
_LOCK_WAIT_S = 5.0
_EVERYTHING = ("*",)


class KeysFileError(Exception):
    """The keys file cannot be used, or not changed as asked. Its text is for the operator and holds no key."""


def _free_id(key_id: str) -> str:
    if key_id in RESERVED_IDS:
        raise ValueError("this id is reserved")
    return key_id


def _in_utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


_Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}$"), AfterValidator(_free_id)]
_Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9A-Fa-f]{64}$", to_lower=True)]
_Pattern = Annotated[str, StringConstraints(min_length=1, max_length=512)]


class Key(BaseModel):
    """One line of the file. An unknown field makes a line invalid: it could be a mistyped restriction."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    id: _Id
    sha256: _Sha256 = Field(repr=False, description="Of the whole key's text.")
    scopes: tuple[Scope, ...] = ("query",)
    servers: tuple[_Pattern, ...] = _EVERYTHING
    tools: tuple[_Pattern, ...] = _EVERYTHING
    rate_per_s: float | None = Field(default=None, gt=0, allow_inf_nan=False, description="None: no limit.")
    max_in_flight: int | None = Field(default=None, ge=1, description="None: no limit.")
    expires: Annotated[datetime, AfterValidator(_in_utc)] | None = None

    def principal(self) -> Principal:
        """Return whom the key stands for."""
        return Principal(
            id=self.id,
            scopes=frozenset(self.scopes),
            servers=self.servers,
            tools=self.tools,
            rate_per_s=self.rate_per_s,
            max_in_flight=self.max_in_flight,
        )


def digest(text: str) -> bytes:
    """Return the SHA-256 of a key's text. A key has 256 random bits, so that a slow hash would protect nothing."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def read_lines(path: Path) -> tuple[list[bytes], os.stat_result]:
    """Return the file's lines, and its state when they were read.

    Raises:
        KeysFileError: it cannot be read, is over 16 MiB, or everyone may write to it.
    """
    try:
        with open(path, "rb", opener=_opened_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_mode & stat.S_IWOTH or status.st_size > _MAX_BYTES:
                raise KeysFileError(f"{path}: is not a regular file of at most 16 MiB that not everyone may write to")
            return file.read(_MAX_BYTES).split(b"\n"), status
    except OSError as error:
        raise KeysFileError(f"{path}: cannot be read: {error.strerror}") from None


def _opened_without_waiting(path: str, flags: int) -> int:
    # A named pipe would else hold us until somebody writes to it.
    return os.open(path, flags | os.O_NONBLOCK)


def parse_line(line: bytes) -> Key | None:
    """Return the key on `line`, or None if the line is not valid."""
    try:
        return Key.model_validate_json(line)
    except ValidationError:
        return None


def list_keys(path: Path) -> list[Key]:
    """Return the valid keys of the file, in its order.

    Raises:
        KeysFileError: as `read_lines` does.
    """
    lines, _ = read_lines(path)
    return [key for line in lines if (key := parse_line(line)) is not None]


def add_key(
    path: Path,
    key_id: str | None = None,
    *,
    scopes: Sequence[Scope] = ("query",),
    servers: Sequence[str] = _EVERYTHING,
    tools: Sequence[str] = _EVERYTHING,
    rate_per_s: float | None = None,
    max_in_flight: int | None = None,
    expires: datetime | None = None,
) -> str:
    """Make a key, add it to the file (created with mode 0600 if there is none) and return its text.

    The text, `bb_<id>_<32 random bytes in base64url>`, is not kept: it cannot be shown again.

    Raises:
        KeysFileError: the id is in use or not valid, a limit is not valid, or the file cannot be changed.
    """
    key_id = key_id or secrets.token_hex(4)
    text = f"bb_{key_id}_{urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip('=')}"
    try:
        key = Key(
            id=key_id,
            sha256=digest(text).hex(),
            scopes=tuple(scopes),
            servers=tuple(servers),
            tools=tuple(tools),
            rate_per_s=rate_per_s,
            max_in_flight=max_in_flight,
            expires=expires,
        )
    except ValidationError as error:
        wrong = sorted({str(detail["loc"][0]) for detail in error.errors()})
        raise KeysFileError(f"not valid: {', '.join(wrong)}") from None
    with _changing(path) as lines:
        if any(other.id == key_id for line in lines if (other := parse_line(line)) is not None):
            raise KeysFileError(f"there is a key with the id {key_id} already")
        lines.append(key.model_dump_json(exclude_none=True).encode())
    return text


def revoke_key(path: Path, key_id: str) -> None:
    """Take every key with that id out of the file; lines that are not valid stay as they are.

    Raises:
        KeysFileError: there is no such key, or the file cannot be changed.
    """
    with _changing(path) as lines:
        kept = [line for line in lines if (key := parse_line(line)) is None or key.id != key_id]
        if len(kept) == len(lines):
            raise KeysFileError("there is no key with that id")
        lines[:] = kept


@contextlib.contextmanager
def _changing(path: Path) -> Iterator[list[bytes]]:
    """Yield the lines, not blank, of the file; write them back whole, unless the block raises."""
    path = path.resolve()  # of a symbolic link the file is replaced, not the link
    with _locked(path):
        lines, status = read_lines(path) if path.exists() else ([], None)
        lines = [line for line in lines if line.strip()]
        yield lines
        try:
            _replace(path, b"".join(line + b"\n" for line in lines), status)
        except OSError as error:
            raise KeysFileError(f"{path}: cannot be written: {error.strerror}") from None


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    # The lock is a file of its own: the keys file is replaced by each change, and a lock on it with it.
    try:
        descriptor = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise KeysFileError(f"{path}: cannot be locked: {error.strerror}") from None
    with os.fdopen(descriptor):
        try:
            lock_file(descriptor, limit_s=_LOCK_WAIT_S)
        except BlockingIOError:
            raise KeysFileError(f"{path}: somebody else is changing it") from None
        yield


def _replace(path: Path, content: bytes, old: os.stat_result | None) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            if old is not None and (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
                # Else a change by root would lock out the services, which run as somebody else.
                os.fchown(descriptor, old.st_uid, old.st_gid)
            file.flush()
            os.fsync(descriptor)
        os.replace(name, path)  # noqa: PTH105  the same call; its neighbours are os calls too
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
