"""What became of every query of a row: the accounts of its load, and who was told what, when."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from tests.chaos.load import Stream
from tests.support.account import GRACE_S, Account, account, percentile
from tests.support.pauses import Span
from tests.support.records import LedgerLine, RecordLine, Sent, Told, read_ledger, read_record


@dataclass(frozen=True, slots=True)
class Query:
    """One query, and what was told of it."""

    stream: Stream
    sent: Sent
    told: Told | None

    @property
    def has_failed(self) -> bool:
        return self.told is None or self.told.code is not None


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything that is known of a row when it is over. Moments are seconds since 1970."""

    total: Account
    undeclared: Account
    """Of the calls that are not declared idempotent."""
    declared: Account
    queries: tuple[Query, ...]
    starts: tuple[LedgerLine, ...]
    """Of this row's queries, at the MCP servers."""
    deadline_s: float
    """How long after its sending each query's deadline is."""
    began_at: float
    """When the fault was done."""
    over_at: float
    """When what it broke was back; the same where nothing came back."""
    patience: float
    """By how much speeds may miss their goal."""
    facts: Mapping[str, float] = field(default_factory=dict)
    """What the fault itself has measured."""
    pauses: tuple[Span, ...] = ()
    """When the machine itself stood still, as virtual ones do."""

    @property
    def failed(self) -> Iterator[Query]:
        return (query for query in self.queries if query.has_failed)

    @property
    def longest_gap_s(self) -> float:
        """The longest time without an answer while queries were sent."""
        sent = [query.sent.at for query in self.queries]
        told = [query.told.at for query in self.queries if query.told is not None and not query.has_failed]
        moments = sorted([min(sent), *(at for at in told if at < max(sent)), max(sent)])
        return max(later - earlier for earlier, later in pairwise(moments))

    @property
    def recovery_s(self) -> float:
        """From when the broken part was back until the last query was sent that failed; 0.0 if none did after it."""
        return max([0.0, *(query.sent.at - self.over_at for query in self.failed)])

    def p99_ms(self, server: str, began_at: float, ended_at: float) -> float:
        """Of the answered queries to `server` that were sent between the two moments; 0.0 if there are none.

        Those that met a pause of the machine are left out: it would be measured, not we.
        """
        durations = sorted(
            query.told.ms
            for query in self.queries
            if query.told is not None
            and query.told.code is None
            and query.stream.server == server
            and began_at <= query.sent.at < ended_at
            and not any(query.sent.at < ends and begins < query.told.at for begins, ends in self.pauses)
        )
        return percentile(durations, 99)


def read_findings(
    records: Path,
    streams: Iterable[Stream],
    ledger: Path,
    *,
    deadline_s: float,
    began_at: float,
    over_at: float,
    patience: float,
    facts: Mapping[str, float],
    pauses: Iterable[Span],
) -> Findings:
    """Join the records of `streams` in the folder with the ledger; `deadline_s` is the timeout of every query."""
    lines: dict[bool, list[RecordLine]] = {True: [], False: []}
    queries: list[Query] = []
    for stream in streams:
        told_of: dict[str, Told] = {}
        sent: list[Sent] = []
        for line in read_record(stream.record(records)):
            lines[stream.is_declared].append(line)
            if isinstance(line, Sent):
                sent.append(line)
            else:
                told_of[line.id] = line
        queries += [Query(stream, one, told_of.get(one.id)) for one in sent]
    ours = {query.sent.id for query in queries}
    noted = [line for line in read_ledger(ledger) if line.id in ours]
    grace_s = GRACE_S * patience
    return Findings(
        total=account(noted, lines[True] + lines[False], deadline_s, grace_s=grace_s),
        undeclared=account(noted, lines[False], deadline_s, grace_s=grace_s),
        declared=account(noted, lines[True], deadline_s, grace_s=grace_s),
        queries=tuple(queries),
        starts=tuple(line for line in noted if line.event == "start"),
        deadline_s=deadline_s,
        began_at=began_at,
        over_at=over_at,
        patience=patience,
        facts=facts,
        pauses=tuple(pauses),
    )
