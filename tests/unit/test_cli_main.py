"""The list of commands, their help, and how `busbar` fails."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.core import TyperGroup

from services.cli.errors import exit_status
from services.cli.lazy import load
from services.cli.main import Commands, main

EACH = pytest.mark.parametrize("name", Commands.entries)


@EACH
def test_the_list_says_of_a_command_what_its_own_help_says(name: str) -> None:
    entry = Commands.entries[name]
    assert (load(name, entry).help or "").startswith(entry.summary.removesuffix("."))


@EACH
def test_every_help_has_an_example_that_begins_with_busbar(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = load(name, Commands.entries[name])
    words = [[name], *([name, each] for each in (command.commands if isinstance(command, TyperGroup) else ()))]
    for each in words:
        assert main([*each, "--help"]) == 0
        shown = capsys.readouterr().out
        assert "Example" in shown
        assert f"busbar {name}" in shown.partition("Example")[2]


def test_help_imports_no_client_no_models_and_no_tables() -> None:
    program = (
        "import sys\nfrom services.cli.main import main\nstatus = main(['--help'])\n"
        "heavy = {'httpx', 'pydantic', 'rich', 'fastapi', 'nats', 'yaml'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else status)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "query" in done.stdout


def test_the_version_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("busbar ")


def test_without_a_command_the_help_goes_to_stderr_with_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["keys"]):
        assert main(arguments) == 2
        shown = capsys.readouterr()
        assert shown.out == ""
        assert "Commands:" in shown.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["wroker"],
        ["--nope"],
        ["query"],
        ["query", "server"],
        ["query", "server", "tool", "novalue"],
        ["query", "server", "tool", "a=1", "a=2"],
        ["query", "server", "tool", "--args", "{"],
        ["query", "server", "tool", "--args", "[]"],
        ["query", "server", "tool", "a=1", "--args", "{}"],
        ["query", "server", "tool", "--timeout", "0"],
        ["query", "server", "tool", "--cache", "never"],
        ["query", "server", "a=1", "--resource", "a://b"],
        ["query", "server", "--prompt", "a", "--resource", "a://b"],
        ["status", "--watch", "--json"],
        ["worker", "two__lines"],
        ["worker", "server", "--version", "new"],
        ["\x1b[31m\n"],
    ],
)
def test_wrong_usage_is_one_line_with_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert len(shown.err.splitlines()) == 1
    assert shown.err.startswith("busbar")
    assert "\x1b" not in shown.err


def test_a_bug_is_one_line_without_the_exceptions_text(capsys: pytest.CaptureFixture[str]) -> None:
    def broken() -> None:
        raise LookupError("secret")

    assert exit_status(broken) == 1
    assert capsys.readouterr().err.startswith("busbar: a bug: LookupError in test_cli_main.py:")


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """What the process would have become."""
    calls: list[list[str]] = []

    def execv(program: str, arguments: list[str]) -> None:
        assert program == arguments[0] == sys.executable
        calls.append(arguments[1:])
        raise SystemExit(0)

    monkeypatch.setattr("os.execv", execv)
    return lambda: calls[-1]


@pytest.mark.parametrize("name", ["orchestrator", "health", "admin"])
def test_a_service_replaces_the_command(name: str, executed: Callable[[], list[str]]) -> None:
    with pytest.raises(SystemExit):
        main([name])
    assert executed() == ["-P", "-m", f"services.{name}"]


@pytest.mark.parametrize(
    ("given", "passed"),
    [
        (["database_mcp"], ["--", "database_mcp"]),
        (["a", "--version", "1.2.0", "--url", "http://x"], ["--version=1.2.0", "--url=http://x", "--", "a"]),
        (["a", "--", "python", "-m", "x", "--help"], ["--", "a", "python", "-m", "x", "--help"]),
        (["--", "-dash"], ["--", "-dash"]),
    ],
)
def test_a_worker_replaces_the_command_and_gets_its_arguments(
    given: list[str], passed: list[str], executed: Callable[[], list[str]]
) -> None:
    with pytest.raises(SystemExit):
        main(["worker", *given])
    assert executed() == ["-P", "-m", "services.worker", *passed]


def test_a_service_is_ours_wherever_the_user_happens_to_be(tmp_path: Path) -> None:
    (tmp_path / "services").mkdir()
    (tmp_path / "services" / "__init__.py").write_text("raise SystemExit('theirs')")
    program = "import sys; from services.cli.becoming import become; become('worker', ['--help'])"
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "busbar worker" in done.stdout


CONFIG = "servers:\n  database_mcp:\n    command: [python, -m, secret_module]\n"


@pytest.mark.parametrize("from_variable", [True, False])
def test_a_valid_configuration_is_ok(
    from_variable: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "busbar.yaml"
    path.write_text(CONFIG)
    if from_variable:
        monkeypatch.setenv("BUSBAR_CONFIG", str(path))
    assert main(["config", "check", *([] if from_variable else [str(path)])]) == 0
    assert capsys.readouterr().out == f"{path}: ok, 1 server\n"
    assert main(["config", "check", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"ok": True, "servers": 1}


def test_each_mistake_in_a_configuration_is_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "busbar.yaml"
    path.write_text(CONFIG + "    versoin: 1.0.0\n    pirority: 5\n")
    assert main(["config", "check", str(path)]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    lines = shown.err.splitlines()
    assert len(lines) == 2
    assert all(line.startswith(f"{path}: servers.database_mcp: unknown key") for line in lines)
    assert main(["config", "check", str(path), "--json"]) == 1
    assert len(json.loads(capsys.readouterr().out)["problems"]) == 2
    assert main(["config", "public", str(path)]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_the_public_configuration_has_no_private_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "busbar.yaml"
    path.write_text(CONFIG + "    priority: 5\n")
    assert main(["config", "public", str(path)]) == 0
    assert capsys.readouterr().out == "servers:\n  database_mcp:\n    priority: 5\n"


def test_a_configuration_that_is_not_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for word in ("check", "public"):
        assert main(["config", word, str(tmp_path / "none.yaml")]) == 1
        assert capsys.readouterr().err == f"{tmp_path / 'none.yaml'}: there is no such file\n"
