"""Takes orders on the bus, once there is one: what speaks on it takes long to import, and the processes start first."""

import asyncio
from pathlib import Path
from typing import Final, Never

from services.runtime.lifecycle import new_instance_id
from services.supervisor.background import Background
from services.supervisor.crew import Crew
from services.supervisor.probes import is_listening
from services.supervisor.reloading import Reloading, Standing

_POLL_S: Final = 0.1


async def steer(crew: Crew, standing: Standing, config_file: Path, background: Background, *, nats_url: str) -> Never:
    """Obey what is ordered on the bus at `nats_url`, for ever."""
    while not await is_listening(nats_url):
        await asyncio.sleep(_POLL_S)
    from services.supervisor.control import Control  # noqa: PLC0415 - a third of the supervisor's start
    from services.supervisor.deployments import Deployments  # noqa: PLC0415
    from services.supervisor.weights import Weights  # noqa: PLC0415

    instance = new_instance_id()
    weights = Weights(instance=instance)
    control = Control(
        crew,
        Reloading(standing, crew, config_file, instance=instance, spawn=background.start),
        Deployments(standing, crew, weights, instance=instance, spawn=background.start),
        weights,
        instance=instance,
    )
    await control.listen(nats_url)
