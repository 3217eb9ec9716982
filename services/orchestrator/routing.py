"""Which servers may answer a query, in which order. Pure: what is known comes in as arguments."""

from collections.abc import Callable, Collection, Iterable, Mapping

from services.runtime.config.policy import ServerPolicy
from services.runtime.errors import AmbiguousToolError, ForbiddenError, ServerNotFoundError

_UNCONFIGURED = ServerPolicy()


def candidates_for(
    server: str,
    policies: Mapping[str, ServerPolicy],
    *,
    is_announced: Callable[[str], bool],
    may_use: Callable[[str], bool],
) -> list[str]:
    """Return the named server, then its alternates in their order, then its group mates by priority and name.

    Not transitive: an alternate's alternates are not asked.

    Args:
        server: as the query names it.
        policies: every configured server's.
        is_announced: whether a worker has ever announced a server.
        may_use: whether the caller has the right to a server for this query.

    Raises:
        ServerNotFoundError: neither configured nor ever announced.
        ForbiddenError: the caller has no right to the named server.
    """
    if server not in policies and not is_announced(server):
        raise ServerNotFoundError
    if not may_use(server):
        raise ForbiddenError
    policy = policies.get(server, _UNCONFIGURED)
    others = [*policy.alternates, *_group_mates(server, policy, policies)]
    if not others:
        return [server]
    return [server, *(other for other in dict.fromkeys(others) if other != server and may_use(other))]


def candidates_among(
    offerers: Iterable[str], policies: Mapping[str, ServerPolicy], *, may_use: Callable[[str], bool]
) -> list[str]:
    """Return the servers that offer what a query without a server asks for, by priority and name.

    Raises:
        AmbiguousToolError: they are neither one server nor one group.
    """
    allowed = [server for server in offerers if may_use(server)]
    if len(allowed) > 1:
        groups = {policies.get(server, _UNCONFIGURED).group for server in allowed}
        if len(groups) > 1 or None in groups:
            raise AmbiguousToolError
    return _by_priority(allowed, policies)


def _group_mates(server: str, policy: ServerPolicy, policies: Mapping[str, ServerPolicy]) -> list[str]:
    if policy.group is None:
        return []
    return _by_priority(
        [mate for mate in policies if mate != server and policies[mate].group == policy.group], policies
    )


def _by_priority(servers: Collection[str], policies: Mapping[str, ServerPolicy]) -> list[str]:
    return sorted(servers, key=lambda server: (policies.get(server, _UNCONFIGURED).priority, server))
