"""Where the system is: BUSBAR_* variables, else the state folder of a running `busbar up`."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, ValidationError

from services.cli.errors import CommandError
from services.cli.processes import is_alive

DEFAULT_STATE_DIR = Path(".busbar")
_NOTHING = "no Busbar found here: start one with `busbar up`, or say where it is with"


class Keys(BaseModel):
    """The keys that `busbar up` made."""

    query: str | None = Field(default=None, repr=False)
    admin: str | None = Field(default=None, repr=False)


class RunState(BaseModel):
    """What `busbar up` tells in its state file: the object of `up --json`, and its own process id."""

    orchestrators: list[str] = Field(min_length=1)
    health: str
    admin: str
    nats: str = Field(repr=False)
    keys: Keys
    pids: dict[str, int] = {}
    supervisor: int | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """A `busbar up` that runs on this machine."""

    folder: Path
    state: RunState
    shown: Mapping[str, Any] = field(repr=False)
    """The object that `up --json` printed, keys included."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One service: its addresses, of which any will do, and the key it is asked with."""

    name: str
    urls: Sequence[str]
    key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class System:
    """The parts of one system, as far as they are known."""

    orchestrator: Endpoint | None
    health: Endpoint | None
    admin: Endpoint | None
    nats_url: str | None = field(default=None, repr=False)
    run: Run | None = None

    def need_orchestrator(self) -> Endpoint:
        """Return where the orchestrators are.

        Raises:
            CommandError: that is not known.
        """
        if self.orchestrator is None:
            raise CommandError(f"{_NOTHING} BUSBAR_URL")
        return self.orchestrator


def find_system(state_dir: Path | None = None, environ: Mapping[str, str] = os.environ) -> System:
    """Return where the system is.

    An explicit `state_dir` decides for every address. Else a variable wins over the state folder, and if
    BUSBAR_URL is of another system, the folder is not used at all: its keys are for its own addresses only.

    Raises:
        CommandError: nothing is known, or the folder's `busbar up` has ended.
    """
    explicit = state_dir is not None
    url = None if explicit else _address(environ, "BUSBAR_URL")
    run = find_run(state_dir or Path(_value(environ, "BUSBAR_STATE_DIR") or DEFAULT_STATE_DIR), is_needed=explicit)
    if run is not None and url is not None and url not in run.state.orchestrators:
        run = None
    state = run.state if run else None
    admin_url = None if explicit else _address(environ, "BUSBAR_ADMIN_URL")
    health_url = None if explicit else _address(environ, "BUSBAR_HEALTH_URL")
    nats_url = None if explicit else _value(environ, "BUSBAR_NATS_URL")
    key, admin_key = _key(environ, "BUSBAR_KEY"), _key(environ, "BUSBAR_ADMIN_KEY")
    orchestrators = [url] if url else state.orchestrators if state else []
    health = health_url or (state.health if state else None)
    admin = admin_url or (state.admin if state else None)
    if not orchestrators and not health and not admin:
        raise CommandError(f"{_NOTHING} BUSBAR_URL and BUSBAR_KEY")
    return System(
        orchestrator=Endpoint("orchestrator", orchestrators, key or (state.keys.query if state else None))
        if orchestrators
        else None,
        health=Endpoint("health service", [health]) if health else None,
        admin=Endpoint(
            "admin service", [admin], admin_key or (state.keys.admin if state and admin == state.admin else None)
        )
        if admin
        else None,
        nats_url=nats_url or (state.nats if state else None),
        run=run,
    )


def find_run(folder: Path, *, is_needed: bool) -> Run | None:
    """Return the `busbar up` whose state is in `folder`, or None if there is none and it is not needed.

    Raises:
        CommandError: the file is not what `busbar up` writes; or there is none that runs, and it is needed.
    """
    path = folder / "state.json"
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        if is_needed:
            raise CommandError(f"no `busbar up` runs with the state folder {folder}") from None
        return None
    except OSError as error:
        raise CommandError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        state = RunState.model_validate_json(text)
        shown = json.loads(text)
    except (ValidationError, ValueError):
        raise CommandError(f"{path}: is not what `busbar up` writes") from None
    if state.supervisor is not None and not is_alive(state.supervisor):
        if is_needed:
            raise CommandError(f"the `busbar up` of the state folder {folder} has ended")
        return None
    shown.pop("supervisor", None)
    return Run(folder, state, shown)


def _value(environ: Mapping[str, str], name: str) -> str | None:
    """Return the variable's value, else the first line of the file that NAME_FILE names."""
    if value := environ.get(name, "").strip():
        return value
    path = environ.get(f"{name}_FILE")
    if not path:
        return None
    try:
        return Path(path).read_text(encoding="utf-8").partition("\n")[0].strip() or None
    except (OSError, UnicodeError):
        raise CommandError(f"the file that {name}_FILE names cannot be read") from None


def _address(environ: Mapping[str, str], name: str) -> str | None:
    value = _value(environ, name)
    if value is None:
        return None
    try:
        parts = urlsplit(value)
        is_valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_valid = False
    if not is_valid or not value.isprintable() or " " in value:
        raise CommandError(f"{name} must be a URL such as http://127.0.0.1:8080")
    return value.rstrip("/")


def _key(environ: Mapping[str, str], name: str) -> str | None:
    value = _value(environ, name)
    if value is not None and not (value.isascii() and value.isprintable()):
        raise CommandError(f"{name} holds characters that no key has")
    return value
