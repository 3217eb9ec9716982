"""The main function of every HTTP service."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from starlette.types import ASGIApp

from services.runtime.http_settings import HttpSettings
from services.runtime.lifecycle import Lifecycle
from services.runtime.listening import bind
from services.runtime.process import run_process
from services.runtime.serving import serve

SettingsT = TypeVar("SettingsT", bound=HttpSettings)


def run_http_service(
    service: str,
    settings_class: type[SettingsT],
    create_app: Callable[[SettingsT, Lifecycle], ASGIApp],
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
