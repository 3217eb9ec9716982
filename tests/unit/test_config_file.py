"""The file: where it is found, what is refused, and that the public text has nothing private."""

import json
import os
from pathlib import Path

import pytest
import yaml

from services.runtime.config.errors import ConfigError
from services.runtime.config.file import config_path, load_policy, public_text

REPOSITORY = Path(__file__).parents[2]


def write(folder: Path, text: str, name: str = "busbar.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    path.chmod(0o644)
    return path


def problems(path: Path) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load_policy(path)
    assert all(line.startswith(f"{path}: ") for line in str(caught.value).splitlines())
    assert len(str(caught.value).splitlines()) == len(caught.value.problems)
    return caught.value.problems


def test_the_default_configuration_has_both_examples() -> None:
    policy = load_policy(REPOSITORY / "busbar.yaml")
    assert list(policy.servers) == ["database_mcp", "product_metadata_mcp"]
    assert policy.servers["product_metadata_mcp"].tools["resolve_product"].cache_ttl_s == 300
    assert policy.servers["database_mcp"].tools["query"].idempotent is True


def test_the_path_is_the_argument_then_the_variable_then_the_current_folder(tmp_path: Path) -> None:
    environ = {"BUSBAR_CONFIG": "/from/variable.yaml"}
    assert config_path(tmp_path / "a.yaml", environ) == tmp_path / "a.yaml"
    assert config_path(None, environ) == Path("/from/variable.yaml")
    assert config_path(None, {}) == Path.cwd() / "busbar.yaml"


def test_the_servers_of_desktop_clients_are_accepted_from_json(tmp_path: Path) -> None:
    desktop = {
        "type": "stdio",
        "command": "npx",
        "args": ["-y", "thing"],
        "timeout": 60,
        "autoApprove": [],
        "alwaysAllow": [],
        "description": "a thing",
        "priority": 5,
    }
    policy = load_policy(write(tmp_path, json.dumps({"mcpServers": {"thing": desktop}}), "desktop.json"))
    assert policy.servers["thing"].priority == 5


def test_both_sections_may_stand_side_by_side_but_not_with_one_name_twice(tmp_path: Path) -> None:
    both = "servers: {a: {alternates: [b]}}\nmcpServers: {b: {}}"
    assert list(load_policy(write(tmp_path, both)).servers) == ["a", "b"]
    assert problems(write(tmp_path, "servers: {a: {}}\nmcpServers: {a: {}}")) == ("mcpServers.a: is in 'servers' too",)


def test_a_problem_names_the_section_in_which_the_server_stands(tmp_path: Path) -> None:
    (problem,) = problems(write(tmp_path, "mcpServers: {a: {priority: 1000}}"))
    assert problem == "mcpServers.a.priority: must be less than or equal to 999 (it is 1000)"


def test_a_disabled_server_is_checked_but_not_served_and_no_alternate(tmp_path: Path) -> None:
    policy = load_policy(write(tmp_path, "servers: {a: {alternates: [b]}, b: {disabled: true}}"))
    assert list(policy.servers) == ["a"]
    assert policy.servers["a"].alternates == ()
    assert problems(write(tmp_path, "servers: {b: {disabled: true, priority: 0}}"))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("server: {}", "has no key 'servers' (nor 'mcpServers') at its top"),
        ("", "has no key 'servers' (nor 'mcpServers') at its top"),
        ("- servers", "has no key 'servers' (nor 'mcpServers') at its top"),
        ("servers: {}\nserver: {}", "unknown key server; the nearest known one is servers"),
        ("servers: {a: {priorty: 3}}", "servers.a: unknown key priorty; the nearest known one is priority"),
        ("servers: {a: {timeout: 3}}", "servers.a: unknown key timeout; the nearest known one is timeout_s"),
        (
            "servers: {a: {tools: {t: {cache_ttl: 3}}}}",
            "servers.a.tools.t: unknown key cache_ttl; the nearest known one is cache_ttl_s",
        ),
        ("servers: [a]", "servers: must be a mapping of server names to their keys"),
        ("servers: {a: 3}", "servers.a: must be a mapping of keys to values"),
        ("servers: {a: {}, a: {}}", "line 1: this key appears twice in its mapping"),
        ("servers:\n  on: {}", "line 2: YAML reads this key as true or false; put it in quotes"),
        ("servers:\n  42: {}", "line 2: YAML reads this key as a number; put it in quotes"),
        ("servers: {a: {tools: {t: !!python/name:os.system x}}}", "line 1: YAML tags are not allowed"),
        ("servers: {a: {priority: !!int x}}", "line 1: the value does not fit its tag"),
        ("servers: &a {b: *a}", "line 1: is nested too deeply or refers to itself too often"),
        ("servers: " + "[" * 5000, "is nested too deeply"),
        ("servers: {}\n---\nservers: {}", "is not valid YAML: but found another document (line 2, column 1)"),
        ("servers: {a\x00}", "is not valid YAML: it holds a character that YAML does not allow"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(tmp_path: Path, text: str, problem: str) -> None:
    assert problems(write(tmp_path, text)) == (problem,)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"servers": {"a": {}, "a": {}}}', "a key appears twice in one of its objects"),
        ('{"servers": {"a": {"priority": NaN}}}', "NaN and Infinity are not JSON"),
        ('{"servers": {', "is not valid JSON (line 1, column 14)"),
        ('{"servers": ' + "[" * 500 + "]" * 500 + "}", "is nested too deeply"),
        ('{"servers": ' + "[" * 100_000, "is nested too deeply"),
        ('{"servers": ' + "9" * 5000 + "}", "is not valid JSON: a number is too long"),
    ],
)
def test_what_is_wrong_with_json_is_told_in_one_line(tmp_path: Path, text: str, problem: str) -> None:
    assert problems(write(tmp_path, text, "busbar.json")) == (problem,)


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    assert len(problems(write(tmp_path, "servers: {a: {priority: 0, era: old}, b: {timeout_s: 0}}"))) == 3


def test_a_file_that_aliases_blow_up_is_refused(tmp_path: Path) -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9))
    (problem,) = problems(write(tmp_path, bomb + "servers: {}"))
    assert problem.endswith("refers to itself too often")


def test_anchors_and_merge_keys_work(tmp_path: Path) -> None:
    text = "servers:\n  a: &a {priority: 5, timeout_s: 10}\n  b: {<<: *a, timeout_s: 20}\n"
    policy = load_policy(write(tmp_path, text))
    assert (policy.servers["b"].priority, policy.servers["b"].timeout_s) == (5, 20)


def test_a_file_that_everyone_may_write_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "servers: {}")
    assert load_policy(path).servers == {}
    path.chmod(0o646)
    assert problems(path) == ("everyone may write to it, and so run commands as us; chmod o-w it",)


def test_what_is_no_readable_file_of_text_is_refused(tmp_path: Path) -> None:
    assert problems(tmp_path / "none.yaml") == ("there is no such file",)
    assert problems(tmp_path) == ("cannot be read: Is a directory",)
    os.mkfifo(tmp_path / "pipe")
    assert problems(tmp_path / "pipe") == ("is not a regular file",)
    assert problems(write(tmp_path, "# " + "x" * (1 << 20))) == ("is larger than 1 MiB",)
    (tmp_path / "latin.yaml").write_bytes(b"servers: {} # \xe9")
    assert problems(tmp_path / "latin.yaml") == ("is not UTF-8 text",)


def test_the_public_text_is_the_same_policy_without_private_keys(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "servers:\n"
        "  a: {version: 1.0.0, priority: 7, url: 'http://hidden.example/', env: {K: s3cret}}\n"
        "  'on': {command: [x]}\n"
        "mcpServers:\n  b: {command: hidden-program, description: hidden, tools: {t: {cache_ttl_s: 5}}}\n",
    )
    text = public_text(path)
    assert "hidden" not in text
    assert "s3cret" not in text
    assert yaml.safe_load(text) == {
        "servers": {
            "a": {"version": "1.0.0", "priority": 7},
            "on": {},
            "b": {"tools": {"t": {"cache_ttl_s": 5}}},
        }
    }
    assert load_policy(write(tmp_path, text, "public.yaml")) == load_policy(path)


def test_no_public_text_is_made_of_a_file_that_is_not_valid(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        public_text(write(tmp_path, "servers: {a: {priority: 0}}"))
