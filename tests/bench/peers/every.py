"""The peers, in the order of the table."""

from collections.abc import Sequence
from typing import Final

from tests.bench.peers import contextforge, fastmcp_proxy, litellm_gateway, mcp_hub, mcp_proxy, mcpo, supergateway
from tests.bench.peers.peer import Peer

PEERS: Final[Sequence[Peer]] = (
    mcp_hub.PEER,
    mcpo.PEER,
    supergateway.PEER,
    mcp_proxy.PEER,
    fastmcp_proxy.PEER,
    litellm_gateway.PEER,
    contextforge.PEER,
)
