"""`busbar init`: what it makes, keeps and exchanges."""

import json
import os
import re
import stat
from pathlib import Path

import pytest

from bus_schemas import subjects
from services.cli.deployment import bus_users
from services.cli.main import main
from services.runtime.nkeys import UserNkey

CONFIG = """
servers:
  files: {version: 1.0.0, command: [serve, --token, s3cret-of-the-server]}
  mail: {version: 1.0.0, url: "http://mail.internal/mcp"}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A new deployment."""
    (tmp_path / "busbar.yaml").write_text(CONFIG)
    assert init(tmp_path / "deployment", "--config", str(tmp_path / "busbar.yaml")) == 0
    return tmp_path / "deployment"


def init(folder: Path, *options: str) -> int:
    return main(["init", str(folder), *options])


def seed(folder: Path, user: str) -> str:
    return (folder / "secrets" / f"nats_{user}").read_text().strip()


def let_in(folder: Path) -> set[str]:
    """Return the public keys that NATS takes."""
    return set(re.findall(r"nkey: (U\w+)", (folder / "nats" / "accounts.conf").read_text()))


def held(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_nats_lets_in_the_user_of_every_seed_and_nobody_else(folder: Path) -> None:
    users = ["orchestrator", "health", "admin", "observer", "worker_files", "worker_mail"]
    seeds = [seed(folder, user) for user in users] + [(folder / "callers" / "bus.nk").read_text().strip()]
    assert let_in(folder) == {UserNkey(one).public_key for one in seeds}
    assert len(let_in(folder)) == len(seeds)


def test_nobody_but_the_owner_gets_at_the_folder_and_only_containers_of_others_at_a_file(folder: Path) -> None:
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    modes = {path: stat.S_IMODE((folder / path).stat().st_mode) for path in held(folder)}
    readable = {path for path, mode in modes.items() if mode & 0o077}
    assert readable == {"valkey/users.acl", "secrets/grafana_admin"}
    owners = {(folder / path).stat().st_uid for path in modes if not path.endswith(".lock")}
    assert owners == {os.geteuid() or 10001}


def test_the_public_configuration_tells_not_how_servers_are_reached(folder: Path) -> None:
    public = (folder / "public" / "busbar.yaml").read_text()
    assert "files" in public
    assert "s3cret" not in public
    assert "internal" not in public


def test_the_store_is_told_no_password(folder: Path) -> None:
    acl = (folder / "valkey" / "users.acl").read_text()
    for service in ("orchestrator", "health", "admin"):
        url = (folder / "secrets" / f"redis_{service}").read_text()
        assert url.split("@")[0].rpartition(":")[2] not in acl
        assert f"user {service} reset on #" in acl


def test_the_stores_urls_become_those_of_tls_with_the_same_passwords_and_stay_so(folder: Path) -> None:
    before = (folder / "secrets" / "redis_admin").read_text()
    acl = (folder / "valkey" / "users.acl").read_text()
    assert init(folder, "--tls") == 0
    assert init(folder) == 0
    after = (folder / "secrets" / "redis_admin").read_text()
    assert before.startswith("redis://")
    assert after.startswith(before.strip().replace("redis://", "rediss://", 1) + "?ssl_ca_certs=")
    assert (folder / "valkey" / "users.acl").read_text() == acl


def test_the_keys_for_callers_are_told_once_and_not_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "busbar.yaml").write_text(CONFIG)
    assert init(tmp_path / "new", "--config", str(tmp_path / "busbar.yaml"), "--json") == 0
    keys = json.loads(capsys.readouterr().out)["keys"]
    assert keys.keys() == {"first-caller", "first-operator"}
    assert not any(key in text for key in keys.values() for text in held(tmp_path / "new").values())
    assert init(tmp_path / "new", "--json") == 0
    assert json.loads(capsys.readouterr().out)["keys"] == {}


def test_once_more_changes_nothing(folder: Path) -> None:
    before = held(folder)
    assert init(folder) == 0
    assert held(folder) == before


def test_a_new_server_and_a_new_caller_get_keys_and_the_others_keep_theirs(folder: Path) -> None:
    before = held(folder)
    changed = folder.parent / "changed.yaml"
    changed.write_text(f"{CONFIG}  clock: {{version: 1.0.0, command: [clock]}}\n")
    assert init(folder, "--config", str(changed), "--caller", "reports") == 0
    after = held(folder)
    assert {path for path in after if path not in before} == {"secrets/nats_worker_clock", "callers/reports.nk"}
    kept = {path for path in before if path.startswith(("secrets/", "callers/", "keys/"))}
    assert {path: after[path] for path in kept} == {path: before[path] for path in kept}
    assert let_in(folder) >= {
        UserNkey(seed(folder, "worker_clock")).public_key,
        UserNkey(seed(folder, "health")).public_key,
    }


def test_while_keys_are_exchanged_nats_takes_both(folder: Path) -> None:
    old = let_in(folder)
    assert init(folder, "--new-nkeys") == 0
    new = {UserNkey(seed(folder, user)).public_key for user in ("orchestrator", "worker_files")}
    assert let_in(folder) > old | new
    assert init(folder) == 0
    assert let_in(folder) > old | new
    assert init(folder, "--drop-old-nkeys") == 0
    assert let_in(folder) >= new
    assert not let_in(folder) & old


def test_steps_of_an_exchange_in_the_wrong_order_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert init(folder, "--drop-old-nkeys") == 1
    assert init(folder, "--new-nkeys") == 0
    before = held(folder)
    assert init(folder, "--new-nkeys") == 1
    assert "--drop-old-nkeys first" in capsys.readouterr().err
    assert held(folder) == before
    assert init(folder, "--new-nkeys", "--drop-old-nkeys") == 2


@pytest.mark.parametrize(
    ("config", "told"),
    [("servers: {a: {versoin: 1.0.0, command: [x]}}", "version"), ("servers: [", "YAML"), (None, "no such file")],
)
def test_a_configuration_that_is_wrong_makes_nothing(
    config: str | None, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if config is not None:
        (tmp_path / "busbar.yaml").write_text(config)
    assert init(tmp_path / "new", "--config", str(tmp_path / "busbar.yaml")) == 1
    assert told in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_a_new_deployment_wants_a_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert init(tmp_path / "new") == 1
    assert "--config" in capsys.readouterr().err


def test_a_caller_may_have_no_name_that_means_something_to_the_bus(folder: Path) -> None:
    for name in ("a.b", ">", "*", "", "a b"):
        assert init(folder, "--caller", name) == 2


def test_workers_take_shared_calls_as_members_of_the_queue_group_only() -> None:
    """Else a worker that was taken over reads what others are sent."""
    subscribes = bus_users.worker("files").subscribes
    shared = subjects.call("files", "*").removesuffix(".*")
    assert f"{shared}.* files.*" in subscribes
    assert f"{shared}.*" not in subscribes
    assert f"{shared}.>" not in subscribes
