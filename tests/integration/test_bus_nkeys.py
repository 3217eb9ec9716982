"""NATS knows a service by its nkey."""

import pytest

from services.cli.deployment.bus_users import BusUser, accounts_conf
from services.runtime.bus import BusAwayError, BusDeniedError, open_bus
from services.runtime.credentials import Credentials
from services.runtime.lifecycle import Lifecycle
from services.runtime.nkeys import UserNkey, new_seed
from tests.support.servers import nats_server
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

USER = BusUser("one", publishes=("_INBOX_one.>",), subscribes=("_INBOX_one.>", "shared.* group.*"))


def accounts(*seeds: str) -> str:
    return accounts_conf([USER], {USER.name: [UserNkey(seed).public_key for seed in seeds]})


async def test_whoever_has_the_seed_is_let_in_and_nobody_else() -> None:
    """Seen to fail with a signature of something else."""
    seed = new_seed()
    async with nats_server(config=accounts(seed)) as server, Lifecycle() as life:
        url = f"nats://127.0.0.1:{server.port}"
        async with open_bus(url, service="one", instance="a", life=life, credentials=Credentials(seed)) as bus:
            assert bus.connected
        for wrong in (new_seed(), None):
            with pytest.raises(BusAwayError):
                async with open_bus(
                    url, service="one", instance="b", life=life, credentials=Credentials(wrong), connect_timeout_s=1
                ):
                    pass


async def test_a_queue_group_may_be_joined_and_not_listened_in_on() -> None:
    seed = new_seed()

    async def ignore(_: object) -> None: ...

    async with nats_server(config=accounts(seed)) as server, Lifecycle() as life:
        url = f"nats://127.0.0.1:{server.port}"
        async with open_bus(url, service="one", instance="a", life=life, credentials=Credentials(seed)) as bus:
            await bus.subscribe("shared.calls", ignore, queue="group.one")
            for queue in ("", "another"):
                with pytest.raises(BusDeniedError):
                    await bus.subscribe("shared.calls", ignore, queue=queue)


async def test_a_key_is_exchanged_without_a_break_and_the_old_one_then_ends_who_still_has_it() -> None:
    old, new = new_seed(), new_seed()
    async with nats_server(config=accounts(old)) as server, Lifecycle() as early, Lifecycle() as late:
        url = f"nats://127.0.0.1:{server.port}"
        async with open_bus(url, service="one", instance="a", life=early, credentials=Credentials(old)) as first:
            await server.reload(accounts(new, old))
            async with open_bus(url, service="one", instance="b", life=late, credentials=Credentials(new)) as second:
                await first.fence()
                assert first.reconnects == 0
                await server.reload(accounts(new))
                await until(early.stopping.is_set)
                await second.fence()
                assert second.reconnects == 0
                assert not late.stopping.is_set()
