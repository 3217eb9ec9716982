"""`busbar deploy`: what becomes of the new version when something on the way fails."""

from collections.abc import Callable
from typing import Any

import pytest

from bus_schemas.config import DeploymentAnswer, DeployServer, StopAnswer, StopOutcome, StopVersion
from bus_schemas.envelope import Message
from services.cli import admin_service, deploy, rollouts
from services.cli.errors import CommandError, ProblemError
from services.cli.http_client import Reply
from services.cli.location import Endpoint, System
from services.cli.main import main
from services.cli.rollouts import Rollout
from services.cli.supervisors import OutcomeUnknownError

ADMIN = Endpoint("admin service", ["http://127.0.0.1:1"], "key")
STARTED = DeploymentAnswer(instance="s7c4k1vq2x9m", from_version="1.0.0", to_version="1.1.0", workers=1)
GOING = Rollout(id="01K", server="a", from_version="1.0.0", to_version="1.1.0", state="running", weight=10, step=1)
SERVING = {
    "instance": "i",
    "server": "a",
    "version": "1.1.0",
    "state": "serving",
    "in_flight": 0,
    "started_at": "2026-01-01T00:00:00Z",
}


class Stage:
    """The supervisor and the admin service; each attribute is what it does next."""

    def __init__(self) -> None:
        self.orders: list[Message] = []
        self.deployed: DeploymentAnswer | BaseException = STARTED
        self.stopped: StopOutcome | Exception = "stopped"
        self.workers: list[Any] = [{"workers": [SERVING]}]
        """Answers or failures, one after another; the last again and again."""
        self.start: Callable[[], Rollout] = lambda: GOING
        self.rollouts: list[Rollout] = []
        self.watched: list[Rollout] = []

    def order(self, _url: str, order: Message) -> bytes:
        self.orders.append(order)
        if isinstance(order, DeployServer):
            if isinstance(self.deployed, BaseException):
                raise self.deployed
            return self.deployed.encode()
        if isinstance(self.stopped, Exception):
            raise self.stopped
        return StopAnswer(instance="s7c4k1vq2x9m", outcome=self.stopped).encode()

    def ask(self, *_: Any, **__: Any) -> Reply:
        answer = self.workers.pop(0) if len(self.workers) > 1 else self.workers[0]
        if isinstance(answer, BaseException):
            raise answer
        return Reply(200, "", answer)

    def watch(self, _admin: Endpoint, rollout: Rollout, *, as_json: bool) -> int:
        self.watched.append(rollout)
        return 0

    @property
    def stops(self) -> list[str | None]:
        """The versions that were ordered to be stopped."""
        return [order.version for order in self.orders if isinstance(order, StopVersion)]


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    one = Stage()
    system = System(orchestrator=None, health=None, admin=ADMIN, nats_url="nats://127.0.0.1:1")
    monkeypatch.setattr(deploy, "find_system", lambda _: system)
    monkeypatch.setattr(admin_service, "find_system", lambda _: system)
    monkeypatch.setattr(deploy, "order_supervisor", one.order)
    monkeypatch.setattr(deploy, "ask", one.ask)
    monkeypatch.setattr(rollouts, "start", lambda *_: one.start())
    monkeypatch.setattr(rollouts, "every", lambda _: one.rollouts)
    monkeypatch.setattr(deploy, "watch", one.watch)
    monkeypatch.setattr(deploy, "_POLL_S", 0.0)
    return one


def run(*options: str) -> int:
    return main(["deploy", "a", "--config", "busbar.yaml", *options])


def failing(error: BaseException) -> Callable[[], Rollout]:
    def fail() -> Rollout:
        raise error

    return fail


def test_the_rollout_is_watched_once_the_workers_serve(stage: Stage) -> None:
    stage.workers = [{"workers": []}, {"workers": [SERVING]}]
    assert run() == 0
    assert (stage.watched, stage.stops) == ([GOING], [])


def test_an_admin_service_that_is_away_for_a_moment_is_waited_for(stage: Stage) -> None:
    stage.workers = [CommandError("cannot be reached"), {"strange": 1}, {"workers": [SERVING]}]
    assert run() == 0
    assert stage.stops == []


def test_workers_that_never_serve_are_stopped_again(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    stage.workers = [{"workers": [{**SERVING, "state": "starting"}]}]
    assert run("--ready-s", "0.01") == 1
    assert stage.stops == ["1.1.0"]
    shown = capsys.readouterr().err
    assert "a 1.1.0 is stopped again, 1.0.0 stays as it was" in shown
    assert "0 of 1 workers of a 1.1.0 serve" in shown


def test_an_answer_of_another_program_is_no_bug_and_the_version_is_stopped(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    stage.workers = [{"strange": 1}]
    assert run("--ready-s", "0.01") == 1
    assert stage.stops == ["1.1.0"]
    assert "the admin service does not answer as Busbar does" in capsys.readouterr().err


@pytest.mark.parametrize("error", [CommandError("did not answer within 10 s"), ProblemError("rollout_conflict", "it")])
def test_a_rollout_that_has_begun_all_the_same_is_taken_up(stage: Stage, error: CommandError) -> None:
    stage.start = failing(error)
    stage.rollouts = [GOING]
    assert run() == 0
    assert (stage.watched, stage.stops) == ([GOING], [])


def test_a_version_whose_rollout_goes_on_is_not_said_to_be_stopped(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    stage.start = failing(CommandError("did not answer within 10 s"))
    stage.stopped = "under_way"
    assert run() == 1
    shown = capsys.readouterr().err
    assert "a 1.1.0 is not stopped, its rollout goes on; see `busbar rollout show a`" in shown
    assert "stopped again" not in shown


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OutcomeUnknownError("the supervisor did not answer")])
def test_a_version_that_may_have_been_started_is_stopped(
    stage: Stage, error: BaseException, capsys: pytest.CaptureFixture[str]
) -> None:
    stage.deployed = error
    assert run() == 1
    assert stage.stops == [None]
    assert "the new version of a is stopped again, the version in force stays as it was" in capsys.readouterr().err


def test_a_ctrl_c_while_the_workers_start_stops_them(stage: Stage) -> None:
    stage.workers = [KeyboardInterrupt()]
    assert run() == 1
    assert stage.stops == ["1.1.0"]


def test_a_supervisor_that_does_not_say_is_no_success(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    stage.deployed = stage.stopped = OutcomeUnknownError("the supervisor did not answer within 15 s")
    assert run() == 1
    assert "may run: the supervisor did not say whether it has stopped it" in capsys.readouterr().err


def test_what_the_supervisor_refuses_is_told_and_nothing_is_stopped(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    stage.deployed = DeploymentAnswer(instance="s7c4k1vq2x9m", problems=["servers.a: is not in the file"])
    assert run() == 1
    assert stage.stops == []
    assert capsys.readouterr().err == "not deployed: servers.a: is not in the file\n"


@pytest.mark.parametrize(
    "options",
    [
        ["--steps", "50,10"],
        ["--steps", "0"],
        ["--step-s", "0"],
        ["--max-p95-ratio", "0.5"],
        ["--max-p95-ratio", "nan"],
        ["--max-error-rate", "2"],
        ["--min-requests", "-1"],
        ["--ready-s", "nan"],
        ["--ready-s", "0"],
    ],
)
def test_a_wrong_option_is_refused_before_anything_is_started(
    stage: Stage, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*options) == 2
    assert stage.orders == []
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_wrong_admin_key_is_told_before_anything_is_started(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(_: Endpoint) -> list[Rollout]:
        raise ProblemError("forbidden", "forbidden: an admin key is needed")

    monkeypatch.setattr(rollouts, "every", forbidden)
    assert run() == 1
    assert stage.orders == []
