"""The main function of every HTTP service: one clear line for what an operator can mend, else serve until the end."""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import TypeVar

import uvloop
from fastapi import FastAPI

from services.runtime.bus import BusAwayError
from services.runtime.config.errors import ConfigError
from services.runtime.http_settings import HttpSettings
from services.runtime.lifecycle import Lifecycle
from services.runtime.logs import configure_logs
from services.runtime.memory import return_large_blocks
from services.runtime.serving import PortInUseError, bind, serve
from services.runtime.settings import CommonSettings, SettingsError, read_settings

SettingsT = TypeVar("SettingsT", bound=HttpSettings)
AnySettingsT = TypeVar("AnySettingsT", bound=CommonSettings)


def run_http_service(
    service: str,
    settings_class: type[SettingsT],
    create_app: Callable[[SettingsT, Lifecycle], FastAPI],
    *,
    port: Callable[[SettingsT], int],
) -> int:
    """Serve until a signal; return the exit status: 0 drained, 1 failed, 2 a setting cannot be used."""

    async def live(settings: SettingsT) -> int:
        async def announce() -> None:
            await asyncio.sleep(settings.announce_s)

        life = Lifecycle()
        life.obey_signals()
        with bind(settings.host, port(settings), send_timeout_s=settings.send_timeout_s) as listener:
            app = create_app(settings, life)
            await serve(app, listener, life, leave=announce, drain_s=settings.drain_timeout_s)
        return life.status

    return run_process(service, settings_class, live)


def run_process(
    service: str,
    settings_class: type[AnySettingsT],
    live: Callable[[AnySettingsT], Coroutine[None, None, int]],
) -> int:
    """Read the settings, and run `live` on uvloop with the service's log; return the exit status."""
    return_large_blocks()
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
