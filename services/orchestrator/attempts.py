"""One server is asked: which of its versions, which of their workers, and who next while none has run the call."""

from collections.abc import Iterable, Iterator, Sequence

from bus_schemas.queries import Query
from services.orchestrator.answers import ANYBODY, Answers, Target
from services.orchestrator.catalogue import CatalogueView, LiveServer, LiveVersion
from services.orchestrator.context import Context, Course
from services.orchestrator.continuations import Continuations
from services.orchestrator.dispatch import NobodyThereError, Outcome
from services.orchestrator.pins import Pins, rendezvous
from services.orchestrator.reading import ReadQuery
from services.orchestrator.weights import SmoothWeightedRoundRobin, effective_weights
from services.runtime.config.policy import Policy
from services.runtime.errors import (
    NotExecutedError,
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
        """Ask one server: a version by its weight; on "no responders" the next version at once."""
        live = self._catalogue.live(server)
        if live is None:
            return await self._recall(server, read, context, course)
        has_own_session = self._policy.of(server).session == "caller"
        if has_own_session and (answered := await self._ask_holder(live, read, context, course)) is not None:
            return answered
        failure: NotExecutedError = NoWorkerError()
        for version in self._versions(live, read.query):
            targets = self._heirs(version, context.principal.id) if has_own_session else _anybody(version)
            try:
                return version, await self._answers.of(version, targets, read, context, course)
            except NoWorkerError as error:
                failure = error
        raise failure

    async def resume(
        self, request_state: str, candidates: Iterable[str], read: ReadQuery, context: Context, course: Course
    ) -> tuple[LiveVersion, Outcome] | None:
        """Ask the worker that gave out the state. None: it is not known or gone; elsewhere it may be understood too.

        A caller with a session of its own is sent to its holder, which gave out its states.
        """
        shared = [name for name in candidates if self._policy.of(name).session == "shared"]
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

    def _heirs(self, version: LiveVersion, caller: str) -> Sequence[Target]:
        """The workers that are to hold the caller's next session, the first choice first."""
        lost_with = self._pins.lost_with(version.server, caller)
        order = rendezvous(caller, [instance for instance in version.instances if instance != lost_with])
        return [Target(instance, lost_with is not None) for instance in order[:_ATTEMPTS_PER_VERSION]]

    def _versions(self, live: LiveServer, query: Query) -> Iterator[LiveVersion]:
        """Yield the versions that offer what is asked: those with weight by their turn, then, as a last resort, others.

        A resource that no version with weight lists is asked for all the same.

        Raises:
            ToolNotFoundError, PromptNotFoundError: no version with weight offers it.
        """
        weights = effective_weights({}, live.versions, live.first_version)
        offering = {version: one for version, one in live.versions.items() if one.offer.offers(query)}
        if query.resource is not None and not offering.keys() & weights.keys():
            offering = dict(live.versions)
        weighted = {version: weights[version] for version in offering if version in weights}
        if not weighted:
            raise PromptNotFoundError if query.prompt is not None else ToolNotFoundError
        turns = self._turns.setdefault(live.name, SmoothWeightedRoundRobin())
        while weighted:
            version = turns.choose(weighted) if len(weighted) > 1 else next(iter(weighted))
            yield offering[version]
            del weighted[version]
        yield from (offering[version] for version in offering if version not in weights)


def _anybody(version: LiveVersion) -> Sequence[Target]:
    return [ANYBODY] * min(_ATTEMPTS_PER_VERSION, len(version.instances))
