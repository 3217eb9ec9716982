"""One server is asked: which of its versions, which of their workers, and who next while none has run the call."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from bus_schemas.queries import Query
from services.orchestrator.answers import ANYBODY, Answers, Target
from services.orchestrator.catalogue import CatalogueView, LiveServer, LiveVersion
from services.orchestrator.context import Context, Course
from services.orchestrator.continuations import Continuations
from services.orchestrator.dispatch import NobodyThereError, Outcome
from services.orchestrator.pins import Pins, rendezvous
from services.orchestrator.reading import ReadQuery
from services.orchestrator.weights import SmoothWeightedRoundRobin
from services.runtime.config.policy import Policy
from services.runtime.errors import (
    CircuitOpenError,
    NoWorkerError,
    PromptNotFoundError,
    ToolNotFoundError,
)

_ATTEMPTS_PER_VERSION = 3
"""A queue group picks its member by chance: one that is full or leaving does not speak for the others."""


class Attempts:
    """Asks the workers of a server, one after another while it is certain that none has run the call."""

    def __init__(
        self,
        policy: Policy,
        catalogue: CatalogueView,
        answers: Answers,
        pins: Pins,
        continuations: Continuations,
    ) -> None:
        self._policy = policy
        self._catalogue = catalogue
        self._answers = answers
        self._pins = pins
        self._continuations = continuations
        self._turns: dict[str, SmoothWeightedRoundRobin] = {}

    async def ask(self, server: str, read: ReadQuery, context: Context, course: Course) -> tuple[LiveVersion, Outcome]:
        """Ask one server: a version by its weight; on "no responders" or an open breaker the next version at once."""
        live = self._catalogue.live(server)
        if live is None:
            return await self._recall(server, read, context, course)
        if self._has_own_sessions(server):
            answered = await self._ask_holder(live, read, context, course)
            if answered is not None:
                return answered
        weighted, others = _versions(live, read.query)
        try:
            return await self._ask_one_of(self._in_turn(live, weighted), read, context, course)
        except NoWorkerError:  # a breaker that is open says that the version lives: then others have no traffic
            return await self._ask_one_of(others, read, context, course)

    async def resume(
        self, request_state: str, candidates: Iterable[str], read: ReadQuery, context: Context, course: Course
    ) -> tuple[LiveVersion, Outcome] | None:
        """Ask the worker that gave out the state. None: it is not known or gone; elsewhere it may be understood too.

        A caller with a session of its own is sent to its holder, which gave out its states.
        """
        shared = [name for name in candidates if not self._has_own_sessions(name)]
        lives = [live for live in map(self._catalogue.live, shared) if live is not None]
        versions = (version for live in lives for version in live.versions.values())
        giver = await self._continuations.giver(versions, request_state, course.deadline)
        if giver is None:
            return None
        version, instance = giver
        try:
            return version, await self._answers.of(version, [Target(instance)], read, context, course)
        except NoWorkerError:
            return None

    async def _ask_one_of(
        self, versions: Iterable[LiveVersion], read: ReadQuery, context: Context, course: Course
    ) -> tuple[LiveVersion, Outcome]:
        """Ask one version after another while none takes the call.

        Raises:
            CircuitOpenError: no other takes it, and the breaker of this one is open.
            NoWorkerError: none has a worker.
        """
        refusal: CircuitOpenError | None = None
        for version in versions:
            targets = self._targets(version, context.principal.id)
            try:
                return version, await self._answers.of(version, targets, read, context, course)
            except CircuitOpenError as error:
                refusal = refusal or error
            except NoWorkerError:
                continue
        raise refusal or NoWorkerError

    async def _ask_holder(
        self, live: LiveServer, read: ReadQuery, context: Context, course: Course
    ) -> tuple[LiveVersion, Outcome] | None:
        """Ask the worker that holds the caller's session; None: there is none, or not any more."""
        caller = context.principal.id
        while (holder := self._pins.holder(live.name, caller)) is not None:
            version = live.versions.get(holder.version)
            if version is None:
                raise NoWorkerError  # it is away with its server, and may come back with the session
            try:
                return version, await self._answers.of(version, [Target(holder.instance)], read, context, course)
            except NobodyThereError:
                self._pins.lose(live.name, caller, holder.instance)
        return None

    async def _recall(
        self, server: str, read: ReadQuery, context: Context, course: Course
    ) -> tuple[LiveVersion, Outcome]:
        """Return what the cache still has of a server that has gone."""
        former = self._catalogue.former(server)
        if former is not None:
            version = former.versions[former.first_version]
            if (outcome := await self._answers.recall(version, read, context, course)) is not None:
                return version, outcome
        raise NoWorkerError

    def _has_own_sessions(self, server: str) -> bool:
        """Whether each of its callers has a session of its own."""
        return self._policy.of(server).session == "caller"

    def _targets(self, version: LiveVersion, caller: str) -> Sequence[Target]:
        if self._has_own_sessions(version.server):
            return self._heirs(version, caller)
        return [ANYBODY] * min(_ATTEMPTS_PER_VERSION, len(version.instances))

    def _heirs(self, version: LiveVersion, caller: str) -> Sequence[Target]:
        """The workers that are to hold the caller's next session, the first choice first."""
        lost_with = self._pins.lost_with(version.server, caller)
        order = rendezvous(caller, [instance for instance in version.instances if instance != lost_with])
        return [Target(instance, lost_with is not None) for instance in order[:_ATTEMPTS_PER_VERSION]]

    def _in_turn(self, live: LiveServer, weights: Mapping[str, float]) -> Iterable[LiveVersion]:
        """Return versions by their turn."""
        if len(weights) == 1:
            return [live.versions[version] for version in weights]
        return self._by_turns(live, weights)

    def _by_turns(self, live: LiveServer, weights: Mapping[str, float]) -> Iterator[LiveVersion]:
        """Yield versions; those whose breakers are open have no turn, and come last: answers may be kept."""
        refused = [version for version in weights if not self._answers.lets_through(live.versions[version])]
        called = {version: weight for version, weight in weights.items() if version not in refused}
        turns = self._turns.setdefault(live.name, SmoothWeightedRoundRobin())
        while called:
            version = turns.choose(called) if len(called) > 1 else next(iter(called))
            yield live.versions[version]
            del called[version]
        yield from (live.versions[version] for version in refused)


def _versions(live: LiveServer, query: Query) -> tuple[Mapping[str, float], Sequence[LiveVersion]]:
    """Return the weights of the versions that offer what is asked, and those without weight that offer it, too.

    A resource that no version with weight lists is asked for all the same.

    Raises:
        ToolNotFoundError, PromptNotFoundError: no version with weight offers it.
    """
    others: list[LiveVersion] = []
    if len(live.versions) == 1:
        (only,) = live.versions.values()
        weighted = {only.version: 100.0} if query.resource is not None or only.offer.offers(query) else {}
    else:
        weights = live.weights
        offering = {version: one for version, one in live.versions.items() if one.offer.offers(query)}
        if query.resource is not None and not offering.keys() & weights.keys():
            offering = dict(live.versions)
        weighted = {version: weights[version] for version in offering if version in weights}
        others = [offering[version] for version in offering if version not in weights]
    if not weighted:
        raise PromptNotFoundError if query.prompt is not None else ToolNotFoundError
    return weighted, others
