"""NATS that dies, freezes, loses a node or reads its configuration again."""

from collections.abc import Iterable

from tests.chaos.fault import Fault, Scene, none_refused
from tests.chaos.findings import Findings
from tests.chaos.ground import Plan

FREEZE_S = 5.0
_FREEZE_SHORT_S = 8.0
"""Longer than the timeout and what a short run forgives: what is wrongly started when it ends is seen there, too."""
_NO_GAP_S = 1.0
"""Several times the pauses that an undisturbed service on a busy machine has."""


async def _kill(scene: Scene) -> None:
    (node,) = scene.ground.bus.nodes
    scene.begin()
    await node.kill()
    await scene.last(3, short=1)
    await node.restart()
    scene.end()


async def _freeze(scene: Scene) -> None:
    (node,) = scene.ground.bus.nodes
    scene.begin()
    node.pause()
    await scene.last(FREEZE_S, short=_FREEZE_SHORT_S)
    node.resume()
    scene.end()


async def _kill_nodes_in_turn(scene: Scene) -> None:
    """One at a time, each once: whoever is connected where loses its node at some time."""
    scene.begin()
    for node in scene.ground.bus.nodes:
        await node.kill()
        await scene.last(5, short=1.5)
        await node.restart()
        await scene.last(5, short=1)
    scene.end()


async def _reload(scene: Scene) -> None:
    (node,) = scene.ground.bus.nodes
    scene.begin()
    await node.reload(scene.ground.bus.reconfigured())
    scene.end()


def _nothing_more(_found: Findings) -> Iterable[str]:
    return ()


def _without_gap(found: Findings) -> Iterable[str]:
    if found.longest_gap_s > _NO_GAP_S * found.patience:
        yield f"a gap of {found.longest_gap_s:.1f} s in the service"


def _unnoticed(found: Findings) -> Iterable[str]:
    yield from none_refused(found)
    yield from _without_gap(found)


FAULTS = (
    Fault(
        name="nats-killed",
        what="NATS: killed, and started again",
        protection="`bus/connection.py`: reconnect for ever, send nothing meanwhile; `worker/returns.py`",
        do=_kill,
        judge=_nothing_more,
        breaks_bus=True,
    ),
    Fault(
        name="nats-frozen",
        what="NATS: SIGSTOP for 5 s; queries with 3 s",
        protection="`runtime/clocks.py`: what a stalled bus delivers after its deadline is not started",
        do=_freeze,
        judge=_nothing_more,
        timeout_ms=3000,
        breaks_bus=True,
    ),
    Fault(
        name="nats-node-killed",
        what="NATS: one of three nodes killed, each in turn",
        protection="`bus/connection.py`: the least tried node is next; `bus/client.py`: it is told our password",
        do=_kill_nodes_in_turn,
        judge=_without_gap,
        plan=Plan(nodes=3),
        breaks_bus=True,
    ),
    Fault(
        name="nats-reloaded",
        what="NATS: configuration changed and reloaded",
        protection="workers publish by explicit permission, not `allow_responses`",
        do=_reload,
        judge=_unnoticed,
    ),
)
