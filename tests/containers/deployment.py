"""A deployment of docker-compose.prod.yml of one's own: its folder, its containers, its ports on 127.0.0.1."""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import httpx
import yaml

from tests.support.ports import free_port
from tests.support.processes import REPOSITORY

COMPOSE_FILE = REPOSITORY / "docker-compose.prod.yml"
NODES = ("nats-1", "nats-2", "nats-3")
_LISTENERS = ("BUSBAR_LISTEN", "BUSBAR_ADMIN_LISTEN", *(f"BUSBAR_NATS_{number}_LISTEN" for number in (1, 2, 3)))
_MINUTES = 600.0


class Deployment:
    """What `busbar init` made, and the compose project that runs it."""

    def __init__(self, folder: Path, config: Path, *more: Path) -> None:
        """Make the deployment's folder in `folder`, from `config`; `more` are compose files over the production one."""
        self.project = f"busbar-test-{uuid.uuid4().hex[:8]}"
        self.folder = folder / "deployment"
        made = self.busbar("init", str(self.folder), "--config", str(config), "--json")
        keys = json.loads(made)["keys"]
        self.query_key: str = keys["first-caller"]
        self.admin_key: str = keys["first-operator"]
        listeners = {name: f"127.0.0.1:{free_port()}" for name in _LISTENERS}
        self.url = f"http://{listeners['BUSBAR_LISTEN']}"
        self.admin_url = f"http://{listeners['BUSBAR_ADMIN_LISTEN']}"
        self.nats_urls = [f"nats://{listeners[f'BUSBAR_NATS_{number}_LISTEN']}" for number in (1, 2, 3)]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("BUSBAR_", "COMPOSE_"))}
        self.environment = {
            **inherited,
            **listeners,
            "BUSBAR_NOFILE": "4096",  # more than an engine may give that runs in a sandbox itself
            "BUSBAR_CHECK_INTERVAL": "4s",  # a deployment of one's own is looked at every ten seconds
            "COMPOSE_PROJECT_NAME": self.project,
            "COMPOSE_FILE": ":".join(map(str, (COMPOSE_FILE, *more, _alertmanager(folder)))),
            "COMPOSE_ENV_FILES": str(self.folder / ".env"),
        }

    def busbar(self, *arguments: str) -> str:
        """Return what a `busbar` command prints."""
        return _output([sys.executable, "-m", "services.cli", *arguments], os.environ)

    def compose(self, *arguments: str, stdin: str | None = None) -> str:
        """Return what `docker compose` prints."""
        return _output(["docker", "compose", *arguments], self.environment, stdin=stdin)

    def run(self, *command: str) -> str:
        """Return what a command on this machine prints."""
        return _output(command, self.environment)

    def docker(self, *arguments: str) -> str:
        """Return what `docker` prints."""
        return self.run("docker", *arguments)

    def roll(self, *services: str) -> None:
        """Replace the containers of services as an operator does."""
        self.run(str(REPOSITORY / "deploy" / "roll"), *services)

    def inside(self, service: str, *command: str, stdin: str | None = None) -> str:
        """Return what a command prints in the first container of a service."""
        return self.compose("exec", "--no-TTY", service, *command, stdin=stdin)

    def run_inside(self, service: str, script: Path) -> Any:
        """Return the JSON that a Python script prints in a container of ours."""
        return json.loads(self.inside(service, "python", "-", stdin=script.read_text(encoding="utf-8")))

    def containers(self, service: str = "") -> list[dict[str, Any]]:
        """Return what Docker knows of the containers, of one service or all."""
        ids = self.compose("ps", "--all", "--quiet", *([service] if service else [])).split()
        inspected: list[dict[str, Any]] = json.loads(_output(["docker", "inspect", *ids], os.environ)) if ids else []
        return inspected

    def ways_out(self, service: str) -> list[str]:
        """Return those of a service's networks that lead further than to its other members."""
        names = self.containers(service)[0]["NetworkSettings"]["Networks"]
        networks = json.loads(_output(["docker", "network", "inspect", *names], os.environ))
        return [network["Name"] for network in networks if not network["Internal"]]

    def ask(self, server: str, tool: str, arguments: Mapping[str, Any]) -> httpx.Response:
        """Send a query through HAProxy."""
        query = {"server": server, "tool": tool, "arguments": arguments}
        return self.http("POST", "/v1/query", json=query)

    def http(self, method: str, path: str, *, key: str = "", **more: Any) -> httpx.Response:
        """Ask HAProxy, with the query key if no other is given."""
        return _http(method, self.url + path, key or self.query_key, **more)

    def admin(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Ask the admin service with the admin key."""
        return _http(method, self.admin_url + path, self.admin_key, **more)

    def prometheus(self, expression: str) -> list[dict[str, Any]]:
        """Return what an expression is now."""
        url = str(httpx.URL("http://127.0.0.1:9090/api/v1/query", params={"query": expression}))
        asking = 'wget -qO- "$0" 2>/dev/null || curl -fsS "$0"'  # the image has the one, its stand-in the other
        found: list[dict[str, Any]] = json.loads(self.inside("prometheus", "sh", "-c", asking, url))["data"]["result"]
        return found

    def secrets(self) -> dict[str, str]:
        """Return every secret that the deployment's files hold, by its file: what must be seen nowhere else."""
        found = {str(path): path.read_text().strip() for place in ("secrets", "callers") for path in self._files(place)}
        for name, url in [(name, text) for name, text in found.items() if text.startswith("redis://")]:
            found[f"{name} (password)"] = url.split("@")[0].rpartition(":")[2]
        found["routes"] = (self.folder / "nats" / "routes.conf").read_text().split('password: "')[1].split('"')[0]
        return {**found, "query key": self.query_key, "admin key": self.admin_key}

    def _files(self, place: str) -> list[Path]:
        return sorted((self.folder / place).iterdir())


@contextmanager
def deployed(folder: Path, config: Path, *more: Path) -> Iterator[Deployment]:
    """Bring everything up from nothing, and take away all of it in the end."""
    with running(Deployment(folder, config, *more)) as one:
        yield one


@contextmanager
def running(one: Deployment, *services: str) -> Iterator[Deployment]:
    """Build the image, bring up all services or some, and take everything away in the end."""
    try:
        one.compose("build", "--quiet", "orchestrator")  # the image of all of them
        one.compose("up", "--detach", "--no-build", "--wait", "--wait-timeout", "300", *services)
        yield one
    except BaseException:
        _tell_of_failure(one)
        raise
    finally:
        one.compose("--profile", "*", "down", "--volumes", "--remove-orphans", "--timeout", "5")


def until(condition: Callable[[], object], what: str, *, timeout_s: float = 60.0) -> None:
    """Return when `condition()` is true.

    Raises:
        TimeoutError: it is not within `timeout_s` seconds.
    """
    ends_at = monotonic() + timeout_s
    while not condition():
        if monotonic() > ends_at:
            raise TimeoutError(f"not within {timeout_s:g} s: {what}")
        sleep(0.1)


def _alertmanager(folder: Path) -> Path:
    """Write a compose file by which Alertmanager gets a configuration that its stand-in, release 0.25, understands."""
    config = yaml.safe_load((REPOSITORY / "monitoring" / "alertmanager.yml").read_text(encoding="utf-8"))
    for receiver in config["receivers"]:
        for webhook in receiver["webhook_configs"]:
            del webhook["url_file"]
            webhook["url"] = "http://127.0.0.1:9/"
    (folder / "alertmanager.yml").write_text(yaml.safe_dump(config))
    (folder / "alertmanager.yml").chmod(0o644)
    mounted = f"{folder / 'alertmanager.yml'}:/etc/alertmanager/alertmanager.yml:ro"
    path = folder / "compose.alertmanager.yml"
    path.write_text(yaml.safe_dump({"services": {"alertmanager": {"volumes": [mounted]}}}))
    return path


def _http(method: str, url: str, key: str, **more: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {key}"}
    return httpx.request(method, url, headers=headers, timeout=30, trust_env=False, **more)


def _output(command: Sequence[str], environment: Mapping[str, str], *, stdin: str | None = None) -> str:
    done = subprocess.run(
        command,
        env=dict(environment),
        cwd=REPOSITORY,
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        timeout=_MINUTES,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(
            f"{' '.join(command)}: status {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-6000:]}"
        )
    return done.stdout


def _tell_of_failure(one: Deployment) -> None:
    """Print what the containers say, and why those are not healthy that are not: they are about to go."""
    for container in one.containers():
        health = container["State"].get("Health", {})
        if health.get("Status") != "healthy":
            print(container["Name"], health.get("Log", [])[-1:])  # noqa: T201
    print(one.compose("ps", "--all"), one.compose("logs", "--tail", "30", "--no-color"), sep="\n")  # noqa: T201
