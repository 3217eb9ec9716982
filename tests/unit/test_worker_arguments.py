"""The worker's command line, in every order in which it may be written."""

from itertools import permutations

import pytest
from typer.testing import CliRunner

from services.cli import worker as cli_worker
from services.cli.main import app
from services.worker.__main__ import read_arguments

COMMAND = ["python", "-m", "server", "--version", "9", "--", "-x"]
OPTIONS = [["files"], ["--version", "1.2.0"], ["--url=http://127.0.0.1:1"], ["--metrics-port", "0"]]
ORDERS = [[word for part in order for word in part] for order in permutations(OPTIONS)]


def read(argv: list[str]) -> tuple[str, str | None, str | None, int | None, list[str]]:
    arguments = read_arguments(argv)
    return arguments.server, arguments.version, arguments.url, arguments.metrics_port, arguments.command


@pytest.mark.parametrize("order", ORDERS)
def test_options_stand_before_or_after_the_server_and_the_command_behind_the_dashes(order: list[str]) -> None:
    everything = ("files", "1.2.0", "http://127.0.0.1:1", 0)
    assert read(order) == (*everything, [])
    assert read([*order, "--"]) == (*everything, [])
    assert read([*order, "--", *COMMAND]) == (*everything, COMMAND)


def test_the_server_may_stand_behind_the_dashes_too() -> None:
    assert read(["--version=1.2.0", "--", "-files", *COMMAND]) == ("-files", "1.2.0", None, None, COMMAND)
    assert read(["--", "-files", "--", *COMMAND]) == ("-files", None, None, None, COMMAND)
    assert read(["--", "files"]) == ("files", None, None, None, [])


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["--"],
        ["--version", "1.2.0"],
        ["files", "python"],
        ["files", "--version=x"],
        ["files", "--colour"],
        ["files", "--metrics-port=x"],
        ["files", "--metrics-port=65536"],
    ],
)
def test_what_is_no_command_line_ends_with_status_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        read_arguments(argv)
    assert end.value.code == 2
    assert "usage: busbar worker" in capsys.readouterr().err


@pytest.mark.parametrize("order", ORDERS)
def test_busbar_worker_passes_every_order_on(order: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    passed: list[list[str]] = []
    monkeypatch.setattr(cli_worker, "become", lambda _, arguments: passed.append(arguments))
    for behind in ([], ["--", *COMMAND]):
        assert CliRunner().invoke(app, ["worker", *order, *behind]).exit_code == 0
        assert read(passed.pop()) == ("files", "1.2.0", "http://127.0.0.1:1", 0, behind[1:])
