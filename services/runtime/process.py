"""The main function of every process: one clear line for what an operator can mend, else run until the end."""

import sys
from collections.abc import Callable, Coroutine
from typing import TypeVar

import uvloop

from services.runtime.bus import BusAwayError
from services.runtime.config.errors import ConfigError
from services.runtime.listening import PortInUseError
from services.runtime.logs import configure_logs
from services.runtime.memory import return_large_blocks
from services.runtime.scheduling import prefer_batches
from services.runtime.settings import CommonSettings, SettingsError, read_settings

SettingsT = TypeVar("SettingsT", bound=CommonSettings)


def run_process(
    service: str,
    settings_class: type[SettingsT],
    live: Callable[[SettingsT], Coroutine[None, None, int]],
) -> int:
    """Read the settings, and run `live` on uvloop with the service's log; return the exit status."""
    return_large_blocks()
    prefer_batches()
    try:
        settings = read_settings(settings_class)
        configure_logs(service, settings.log_level)
        return uvloop.run(live(settings))
    except SettingsError as error:
        return _refuse(service, error, 2)
    except (ConfigError, PortInUseError) as error:
        return _refuse(service, error, 1)
    except BusAwayError:
        return 1  # said in the log by whoever could not reach it


def _refuse(service: str, error: Exception, status: int) -> int:
    for line in str(error).splitlines():
        sys.stderr.write(f"busbar {service}: {line}\n")
    return status
