"""The supervisor's process; `busbar up` becomes it."""

import asyncio
import sys

from services.runtime.auth.keys import KeysFileError
from services.runtime.config.errors import ConfigError
from services.runtime.logs import configure_logs
from services.runtime.scheduling import prefer_batches
from services.runtime.settings import SettingsError, read_settings
from services.supervisor.app import live
from services.supervisor.errors import UpError
from services.supervisor.settings import SupervisorSettings


def main() -> int:
    """Return the exit status: 0 drained, 1 failed, 2 a setting is not valid."""
    prefer_batches()
    try:
        settings = read_settings(SupervisorSettings)
    except SettingsError as error:
        return _refuse(str(error), 2)
    configure_logs("supervisor", settings.log_level)
    try:
        return asyncio.run(live(settings))
    except (UpError, ConfigError, KeysFileError) as error:
        return _refuse(str(error), 1)


def _refuse(text: str, status: int) -> int:
    for line in text.splitlines():
        sys.stderr.write(f"busbar up: {line}\n")
    return status


if __name__ == "__main__":
    raise SystemExit(main())
