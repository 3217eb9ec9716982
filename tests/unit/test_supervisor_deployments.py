"""Deployments: what is refused, and which of the two versions is stopped in the end."""

import asyncio
import json
from collections.abc import Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bus_schemas import subjects
from bus_schemas.config import DeploymentAnswer, DeployServer, StopVersion
from bus_schemas.rollouts import RolloutsTold, RolloutWeights
from services.runtime.bus import BusAwayError
from services.supervisor.configuration import read_whole
from services.supervisor.deployments import Deployments
from services.supervisor.pinning import PinnedFiles
from services.supervisor.reloading import Standing
from services.supervisor.state_folder import StateFolder
from services.supervisor.weights import Weights

pytestmark = pytest.mark.anyio

LATER = 10**14
"""An epoch after any deployment of these tests."""


def word(weights: dict[str, float], *, under_way: bool = False, epoch: int = LATER) -> RolloutWeights:
    return RolloutWeights(server="a", weights=weights, under_way=under_way, epoch=epoch, updated_at=0, by="admin1")


class FakeCrew:
    """Notes what it is told."""

    workers = 2

    def __init__(self) -> None:
        self.begun: list[tuple[str, str]] = []
        self.ended: list[tuple[str, str]] = []
        self.left: set[tuple[str, str]] = set()
        """Whose processes have ended, too."""

    def versions(self, server: str) -> list[str]:
        known = [(server, "1.0.0"), *self.begun]
        return [version for name, version in known if name == server and (name, version) not in self.left]

    def begin(self, server: str, version: str, connection: object, config: Path) -> None:
        self.begun.append((server, version))

    async def end(self, server: str, version: str) -> None:
        self.ended.append((server, version))


class FakeBus:
    """Carries words; it has no clock of its own."""

    def __init__(self) -> None:
        self.told: list[RolloutWeights] = []
        """What others know, and tell if they are asked."""
        self.said: list[RolloutWeights] = []
        self.is_away = False

    async def publish(self, subject: str, payload: bytes) -> None:
        if self.is_away:
            raise BusAwayError
        word = RolloutWeights.model_validate_json(payload)
        assert subject == subjects.rollout_event(word.server)
        self.said.append(word)

    async def fence(self) -> None:
        pass

    async def gather(self, subject: str, payload: bytes, *, total_s: float, stall_s: float) -> list[Any]:
        assert subject == subjects.ROLLOUTS
        return [SimpleNamespace(data=RolloutsTold(instance="o1", words=self.told).encode())]


class Desk:
    """Deployments, with what they work on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        state = StateFolder(folder / "state")
        state.make()
        self.crew = FakeCrew()
        self.tasks: list[asyncio.Task[None]] = []
        self.standing = Standing(read_whole(self.file("busbar.json", "1.0.0")), PinnedFiles(state))
        self.bus = FakeBus()
        weights = Weights(instance="s1")
        crew: Any = self.crew
        bus: Any = self.bus
        self._line = weights.spoken_on(bus, bus)
        self._line.__enter__()
        self.deployments = Deployments(self.standing, crew, weights, instance="s1", spawn=self._spawn)

    def file(self, name: str, version: str, **more: Any) -> Path:
        path = self.folder / name
        path.write_text(json.dumps({"servers": {"a": {"version": version, "command": ["x"], **more}}}))
        path.chmod(0o600)
        return path

    async def deploy(self, version: str, server: str = "a", **more: Any) -> DeploymentAnswer:
        path = self.file("next.json", version, **more)
        return await self.deployments.deploy(DeployServer(server=server, config_file=str(path)))

    async def hear(self, weights: dict[str, float], *, under_way: bool = False, epoch: int = LATER) -> None:
        self.deployments.take_word(word(weights, under_way=under_way, epoch=epoch))
        await asyncio.gather(*self.tasks)

    def stop(self, version: str | None) -> str:
        return self.deployments.stop_version(StopVersion(server="a", version=version))

    @property
    def version(self) -> str:
        return self.standing.reading.policy.servers["a"].version

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(asyncio.create_task(work))


async def test_the_old_version_is_stopped_when_the_new_one_has_all(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    answer = await desk.deploy("2.0.0")
    assert (answer.from_version, answer.to_version, answer.workers, answer.problems) == ("1.0.0", "2.0.0", 2, [])
    await desk.hear({"1.0.0": 50, "2.0.0": 50}, under_way=True)
    assert desk.crew.ended == []
    await desk.hear({"1.0.0": 0, "2.0.0": 100}, epoch=LATER + 1)
    assert desk.crew.ended == [("a", "1.0.0")]
    assert desk.version == "2.0.0"


async def test_the_new_version_is_stopped_when_it_has_nothing(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    await desk.deploy("2.0.0")
    await desk.hear({"1.0.0": 100, "2.0.0": 0})
    assert desk.crew.ended == [("a", "2.0.0")]
    assert desk.version == "1.0.0"


async def test_an_older_word_and_one_of_another_server_end_nothing(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    await desk.deploy("2.0.0")
    await desk.hear({"1.0.0": 100}, epoch=1)
    assert desk.crew.ended == []


async def test_a_second_order_for_the_same_version_starts_nothing_more(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    await desk.deploy("2.0.0")
    assert (await desk.deploy("2.0.0")).to_version == "2.0.0"
    assert desk.crew.begun == [("a", "2.0.0")]


async def test_a_version_that_is_given_up_may_be_deployed_again(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    await desk.deploy("2.0.0")
    assert desk.stop("1.0.0") == "not_deployed"
    assert desk.tasks == []
    assert desk.stop("2.0.0") == "stopped"
    await asyncio.gather(*desk.tasks)
    assert desk.crew.ended == [("a", "2.0.0")]
    assert "still being stopped" in (await desk.deploy("2.0.0")).problems[0]
    desk.crew.left.add(("a", "2.0.0"))
    assert (await desk.deploy("2.0.0")).problems == []


@pytest.mark.parametrize(
    ("version", "server", "more", "why"),
    [
        ("1.0.0", "a", {}, "raise it"),
        ("2.0.0", "b", {}, "is not served yet"),
        ("2.0.0", "a", {"timeout_s": "planted"}, "servers.a.timeout_s: "),
        ("2.0.0", "a", {"env": {"A": "${UNSET_HERE}"}}, "servers.a.env"),
    ],
)
async def test_what_cannot_be_deployed_is_refused_with_the_reason(
    tmp_path: Path, version: str, server: str, more: dict[str, Any], why: str
) -> None:
    desk = Desk(tmp_path)
    answer = await desk.deploy(version, server, **more)
    assert len(answer.problems) == 1
    assert why in answer.problems[0]
    assert "planted" not in answer.problems[0]
    assert desk.crew.begun == []


async def test_the_version_in_force_is_pinned_before_another_one_starts(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.bus.told = [word({"1.0.0": 0, "2.0.0": 100}, epoch=LATER)]  # of a deploy before the file went back to 1.0.0
    begun_when_said: list[list[tuple[str, str]]] = []
    publish = desk.bus.publish

    async def note(subject: str, payload: bytes) -> None:
        begun_when_said.append(list(desk.crew.begun))
        await publish(subject, payload)

    desk.bus.publish = note  # type: ignore[method-assign]
    await desk.deploy("2.0.0")
    (pin,) = desk.bus.said
    assert (pin.weights, pin.under_way, pin.epoch) == ({"1.0.0": 100.0}, False, LATER + 1)
    assert begun_when_said == [[]]
    assert desk.crew.begun == [("a", "2.0.0")]
    desk.deployments.take_word(pin)  # the bus says it to us, too
    assert desk.tasks == []


async def test_without_the_bus_nothing_is_started(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.bus.is_away = True
    assert "the bus went away" in (await desk.deploy("2.0.0")).problems[0]
    assert desk.crew.begun == []
    desk.bus.is_away = False
    assert (await desk.deploy("2.0.0")).problems == []


async def test_what_a_rollout_came_to_counts_whatever_the_clocks_say(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    await desk.deploy("2.0.0")
    (pin,) = desk.bus.said
    # An admin service whose clock is behind says one more than the highest that it knows.
    await desk.hear({"1.0.0": 100, "2.0.0": 0}, epoch=pin.epoch + 1)
    assert desk.crew.ended == [("a", "2.0.0")]


async def test_a_version_whose_file_cannot_be_written_is_not_being_deployed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(tmp_path)

    def full(*_: object) -> Path:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as context:
        context.setattr(desk.standing.files, "write_for", full)
        answer = await desk.deploy("2.0.0")
    assert answer.problems == ["the state folder cannot be written: No space left on device"]
    assert desk.stop(None) == "not_deployed"
    assert (await desk.deploy("2.0.0")).problems == []
    assert desk.crew.begun == [("a", "2.0.0")]


async def test_the_old_version_is_stopped_also_where_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(tmp_path)
    await desk.deploy("2.0.0")

    def full(*_: object) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(desk.standing.files, "write", full)
    await desk.hear({"1.0.0": 0, "2.0.0": 100})
    assert desk.crew.ended == [("a", "1.0.0")]
    assert desk.version == "2.0.0"


async def test_a_version_whose_rollout_goes_on_is_left_to_it(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    await desk.deploy("2.0.0")
    await desk.hear({"1.0.0": 90, "2.0.0": 10}, under_way=True)
    assert [desk.stop("2.0.0"), desk.stop(None)] == ["under_way", "under_way"]
    assert "a rollout goes on" in (await desk.deploy("3.0.0")).problems[0]
    assert (desk.crew.begun, desk.crew.ended, desk.tasks) == ([("a", "2.0.0")], [], [])
    await desk.hear({"1.0.0": 100, "2.0.0": 0}, epoch=LATER + 1)
    assert desk.crew.ended == [("a", "2.0.0")]


async def test_a_rollout_to_a_third_version_keeps_no_deployed_one(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    await desk.deploy("2.0.0")
    await desk.hear({"1.0.0": 90, "9.0.0": 10}, under_way=True)
    assert desk.stop("2.0.0") == "stopped"


async def test_nothing_is_deployed_while_a_rollout_goes_on_that_another_began(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.bus.told = [word({"1.0.0": 50, "9.0.0": 50}, under_way=True)]
    assert "a rollout goes on; end it first" in (await desk.deploy("2.0.0")).problems[0]
    assert (desk.crew.begun, desk.bus.said) == ([], [])


async def test_an_attempt_that_nobody_has_rolled_out_gives_way_to_another_version(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    await desk.deploy("2.0.0")
    assert (await desk.deploy("3.0.0")).to_version == "3.0.0"
    await asyncio.gather(*desk.tasks)
    assert desk.crew.ended == [("a", "2.0.0")]
    assert desk.crew.begun == [("a", "2.0.0"), ("a", "3.0.0")]
    assert desk.stop("2.0.0") == "not_deployed"


async def test_a_version_that_a_reload_has_ended_with_its_server_is_started_anew(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    await desk.deploy("2.0.0")
    desk.crew.left.add(("a", "2.0.0"))
    await desk.deploy("2.0.0")
    assert desk.crew.begun == [("a", "2.0.0")] * 2
