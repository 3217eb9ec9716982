"""Across hosts: TLS with certificates on both sides between everybody and NATS, and between its nodes."""

import ssl
from collections.abc import Iterator

import pytest
from nats.errors import Error as NatsError

from services.runtime.bus.client import HardenedClient
from services.runtime.credentials import Credentials
from tests.containers.deployment import NODES, Deployment, running
from tests.support.processes import REPOSITORY

SERVICES = (*NODES, "valkey", "orchestrator", "health", "worker-database", "haproxy")
TLS = REPOSITORY / "deploy" / "tls"


@pytest.fixture(scope="module")
def across_hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    config = REPOSITORY / "deploy" / "busbar.yaml"
    one = Deployment(tmp_path_factory.mktemp("tls"), config, TLS / "docker-compose.yml")
    one.run(str(TLS / "certificates"), str(one.folder))
    with running(one, *SERVICES) as up:
        yield up


def test_queries_go_over_tls(across_hosts: Deployment) -> None:
    asked = across_hosts.ask("database_mcp", "list_tables", {})
    assert asked.status_code == 200, asked.text


@pytest.mark.anyio
async def test_who_has_no_certificate_is_not_spoken_with_even_with_a_key(across_hosts: Deployment) -> None:
    ours = across_hosts.folder / "tls" / "service"
    with_certificate = Credentials(None, ours / "ca.pem", ours / "node.pem", ours / "node.key")
    assert await is_let_in(across_hosts, with_certificate.tls())
    assert not await is_let_in(across_hosts, Credentials(None, ours / "ca.pem").tls())


async def is_let_in(one: Deployment, tls: ssl.SSLContext | None) -> bool:
    seed = (one.folder / "callers" / "bus.nk").read_text().strip()
    client = HardenedClient()
    url = one.nats_urls[0].replace("nats://127.0.0.1", "tls://localhost")
    try:
        await client.connect(url, nkeys_seed_str=seed, tls=tls, allow_reconnect=False, error_cb=_keep_quiet)
    except (OSError, NatsError):
        return False
    await client.close()
    return True


async def _keep_quiet(_: Exception) -> None: ...


def test_the_key_of_the_authority_is_in_no_container(across_hosts: Deployment) -> None:
    mounts = [mount["Source"] for container in across_hosts.containers() for mount in container["Mounts"]]
    assert not [source for source in mounts if source.endswith("/tls") or "authority" in source]
