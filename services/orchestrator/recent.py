"""Questions that were asked before in the same words, by the same caller, while nothing has changed: answered at once.

A hit costs little; finding out which one it is costs ten times that: the query is read, candidates and versions are
chosen, arguments are checked, keys of the cache are made. All of it comes to the same for the same bytes, as long as
the catalogue, the policy and the caller's rights are the same objects. What is remembered is what the query came to,
never the answer: that is asked of the shelf each time, which says for how long memory may be believed.
"""

from collections import OrderedDict
from dataclasses import dataclass

from bus_schemas.queries import CacheMode, CacheUse, Query
from services.orchestrator.cache.cache import AnswerCache, Question
from services.orchestrator.cache.shelf import Wanted
from services.orchestrator.catalogue import CatalogueView, LiveServer, LiveVersion
from services.orchestrator.context import Context, Course
from services.orchestrator.dispatch import Outcome
from services.orchestrator.reading import MOST_REMEMBERED, SMALL_BYTES, ReadQuery
from services.runtime.auth.principals import Principal
from services.runtime.config.policy import Policy, ServerPolicy


@dataclass(frozen=True, slots=True)
class _Known:
    query: Query
    principal: Principal
    live: LiveServer
    version: LiveVersion
    policy: ServerPolicy
    wanted: Wanted


class RecentHits:
    """What the latest hits were asked with; of too many, those noted first are forgotten."""

    def __init__(self, policy: Policy, catalogue: CatalogueView, cache: AnswerCache) -> None:
        self._policy = policy
        self._catalogue = catalogue
        self._cache = cache
        self._known: OrderedDict[tuple[str, bytes], _Known] = OrderedDict()

    def find(self, body: bytes, context: Context, course: Course) -> tuple[LiveVersion, Outcome] | None:
        """Return the answer in memory, and note in `course` what is asked; None: it is to be found the long way."""
        known = self._known.get((context.principal.id, body))
        if known is None:
            return None
        server = known.version.server
        is_as_it_was = (
            known.principal is context.principal
            and known.live is self._catalogue.live(server)
            and known.policy is self._policy.of(server)
        )
        if not is_as_it_was:
            del self._known[context.principal.id, body]
            return None
        outcome = self._cache.in_memory(known.wanted)
        if outcome is None:
            return None
        course.query, course.server, course.cache = known.query, server, CacheUse.HIT
        return known.version, outcome

    def note(self, body: bytes, read: ReadQuery, context: Context, version: LiveVersion) -> None:
        """Remember what a hit was asked with, if it would always be asked of this version."""
        query = read.query
        principal, live = context.principal, self._catalogue.live(version.server)
        policy = self._policy.of(version.server)
        if (
            len(body) > SMALL_BYTES
            or query.server != version.server
            or query.cache is not CacheMode.DEFAULT
            or principal.rate_per_s is not None
            or principal.max_in_flight is not None
            or policy.session != "shared"
            or policy.forward_headers
            or live is None
            or list(live.versions.values()) != [version]
        ):
            return
        wanted = self._cache.wanted(Question(read, version, principal, {}))
        if wanted is None:
            return
        self._known[principal.id, body] = _Known(query, principal, live, version, policy, wanted)
        if len(self._known) > MOST_REMEMBERED:
            self._known.popitem(last=False)
