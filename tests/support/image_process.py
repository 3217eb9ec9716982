"""A server of a test in a container of its public image, with the verbs of a process, through testcontainers.

`BUSBAR_TEST_IMAGES=1` puts these in the place of the programs from wheels: `make test-images`.
"""

import logging
import os
import signal
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import anyio
import yaml

from tests.support.processes import REPOSITORY

_COMPOSE: Final = REPOSITORY / "docker-compose.prod.yml"
_OTHERS: Final = REPOSITORY / "tests" / "containers" / "images.yml"
_GONE_S: Final = 10


def images_are_wanted() -> bool:
    """Whether servers are to be containers."""
    return bool(os.environ.get("BUSBAR_TEST_IMAGES"))


@cache
def image_of(program: str) -> str:
    """Return the image that brings `program`: the one that production runs."""
    production = yaml.safe_load(_COMPOSE.read_text(encoding="utf-8"))["services"]
    others = yaml.safe_load(_OTHERS.read_text(encoding="utf-8"))["services"]
    images: dict[str, str] = {
        "nats-server": production["nats-1"]["image"],
        "valkey-server": production["valkey"]["image"],
        "redis-server": others["redis"]["image"],
    }
    return images[program]


class ImageProcess:
    """A container on the host's network, so that ports, folders and files are those of a process."""

    def __init__(self, argv: Sequence[str], *, folder: Path) -> None:
        """Start the program that `argv` names; `folder` and the folders of tests are there under the same paths."""
        # Imported here: the package wants to know of its reaper, which no test needs, before it is imported.
        os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
        from testcontainers.core.container import DockerContainer  # noqa: PLC0415

        logging.getLogger("testcontainers").setLevel(logging.WARNING)  # tests look at what is logged
        program = Path(argv[0]).name
        self._running = (
            DockerContainer(image_of(program))
            .with_kwargs(network_mode="host", user=f"{os.getuid()}:{os.getgid()}", entrypoint=[program])
            .with_command(list(argv[1:]))
        )
        for place in {str(folder), tempfile.gettempdir()}:
            self._running.with_volume_mapping(place, place, "rw")
        self._running.start()
        self._container: Any = self._running.get_wrapped_container()
        self._last_words: tuple[str, str] | None = None

    @property
    def pid(self) -> int:
        return int(self._state()["Pid"])

    @property
    def returncode(self) -> int | None:
        """The exit status; None while it runs."""
        state = self._state()
        return None if state["Running"] else int(state["ExitCode"])

    def stdout(self) -> str:
        return self._last_words[0] if self._last_words else self._printed(stdout=True)

    def stderr(self) -> str:
        return self._last_words[1] if self._last_words else self._printed(stderr=True)

    def signal(self, number: signal.Signals) -> None:
        self._container.kill(signal=number.name)

    def pause(self) -> None:
        self._container.pause()

    def resume(self) -> None:
        """Let it go on, if it was paused."""
        if self._state()["Paused"]:
            self._container.unpause()

    async def wait(self, *, timeout_s: float = _GONE_S) -> int:
        with anyio.fail_after(timeout_s):
            while (status := self.returncode) is None:
                await anyio.sleep(0.02)
        return status

    async def kill(self) -> None:
        self._container.kill()
        await self.wait()

    async def terminate(self, *, timeout_s: float = _GONE_S) -> int:
        self.signal(signal.SIGTERM)
        return await self.wait(timeout_s=timeout_s)

    def end(self) -> None:
        """Take it away, whatever state it is in. May be called again."""
        if self._last_words is None:
            self._last_words = self.stdout(), self.stderr()
            self._container.remove(force=True, v=True)

    def _state(self) -> dict[str, Any]:
        self._container.reload()
        state: dict[str, Any] = self._container.attrs["State"]
        return state

    def _printed(self, **streams: bool) -> str:
        text: bytes = self._container.logs(**{"stdout": False, "stderr": False, **streams})
        return text.decode(errors="replace")
