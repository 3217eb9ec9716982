"""The account of a run: the server's ledger joined with the driver's record of what was sent and told."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from tests.support.records import LedgerLine, RecordLine, Sent, Told, read_ledger, read_record

GRACE_S = 0.5
"""What an answer may need from the deadline to the caller, and a call from its dispatch to the ledger."""


@dataclass(frozen=True)
class Account:
    """What became of the queries of one record.

    Every query is in exactly one of `answered`, `refused` and `lost`; the other tuples of ids cut across these.
    """

    sent: int
    answered: int
    """Told 200 in time, and truly started."""
    refused: Mapping[str, int]
    """Told an error in time, by its code; a broken connection is `connection`."""
    lost: tuple[str, ...]
    """Told nothing by the deadline and the grace, or told 200 without a start in the ledger."""
    repeated: tuple[str, ...]
    """Started more than once."""
    late: tuple[str, ...]
    """Told something, but after the deadline; those beyond the grace are lost as well."""
    ran_after_no: tuple[str, ...]
    """Told `executed: no`, and yet started."""
    started_after_deadline: tuple[str, ...]
    """Started after the deadline and the grace: work for a caller that had gone."""
    by_instance: Mapping[str, int]
    """Answered queries of each instance that the answers name."""
    by_pid: Mapping[int, int]
    """Starts in each process of the server."""
    longest_gap_s: float
    """The longest time without an answer, between the first query sent and the last thing told."""
    p50_ms: float
    """Of the answered queries, as the caller measured; 0.0 if there are none."""
    p99_ms: float


def read_account(ledger: Path, record: Path, deadline_s: float) -> Account:
    """Return the account of the two files; `deadline_s` is the timeout of every query, in seconds.

    Raises:
        ValueError: a line is malformed, or the record tells of a query that was not sent, or twice of one.
    """
    return account(read_ledger(ledger), read_record(record), deadline_s)


def account(
    ledger: Iterable[LedgerLine], record: Iterable[RecordLine], deadline_s: float, *, grace_s: float = GRACE_S
) -> Account:
    """Join the lines; the order of either does not matter, and calls of other drivers in the ledger are ignored.

    Args:
        ledger: what the servers wrote down.
        record: what the driver sent and was told.
        deadline_s: the timeout of every query, in seconds.
        grace_s: how much later than the deadline counts as in time.

    Raises:
        ValueError: the record tells of a query that was not sent, or twice of one.
    """
    sent, told = _by_id(record)
    starts = _starts(ledger, sent)
    in_time = {id_: answer for id_, answer in told.items() if answer.at - sent[id_].at <= deadline_s + grace_s}
    answered = [answer for id_, answer in in_time.items() if answer.status == 200 and id_ in starts]
    refused = Counter(str(answer.code) for answer in in_time.values() if answer.status != 200)
    settled = {answer.id for answer in in_time.values() if answer.status != 200 or answer.id in starts}
    durations_ms = sorted(answer.ms for answer in answered)
    return Account(
        sent=len(sent),
        answered=len(answered),
        refused=dict(refused),
        lost=tuple(id_ for id_ in sent if id_ not in settled),
        repeated=tuple(id_ for id_, lines in starts.items() if len(lines) > 1),
        late=tuple(id_ for id_, answer in told.items() if answer.at - sent[id_].at > deadline_s),
        ran_after_no=tuple(id_ for id_, answer in told.items() if answer.executed == "no" and id_ in starts),
        started_after_deadline=tuple(
            id_ for id_, lines in starts.items() if max(line.at for line in lines) > sent[id_].at + deadline_s + grace_s
        ),
        by_instance=dict(Counter(answer.instance for answer in answered if answer.instance is not None)),
        by_pid=dict(Counter(line.pid for lines in starts.values() for line in lines)),
        longest_gap_s=_longest_gap_s(sent.values(), told.values(), answered),
        p50_ms=percentile(durations_ms, 50),
        p99_ms=percentile(durations_ms, 99),
    )


def percentile(ascending: Sequence[float], percent: int) -> float:
    """Return the smallest value that `percent` per cent of the values do not exceed; 0.0 of nothing."""
    if not ascending:
        return 0.0
    rank = -(-len(ascending) * percent // 100)
    return ascending[max(rank, 1) - 1]


def _by_id(record: Iterable[RecordLine]) -> tuple[dict[str, Sent], dict[str, Told]]:
    sent: dict[str, Sent] = {}
    told: dict[str, Told] = {}
    for line in record:
        seen: dict[str, Sent] | dict[str, Told] = sent if isinstance(line, Sent) else told
        if line.id in seen:
            raise ValueError(f"two lines of one kind about {line.id}")
        if isinstance(line, Sent):
            sent[line.id] = line
        else:
            told[line.id] = line
    if unknown := told.keys() - sent.keys():
        raise ValueError(f"told of queries that were not sent: {sorted(unknown)[:3]}")
    return sent, told


def _starts(ledger: Iterable[LedgerLine], sent: Mapping[str, Sent]) -> dict[str, list[LedgerLine]]:
    starts: dict[str, list[LedgerLine]] = {}
    for line in ledger:
        if line.event == "start" and line.id in sent:
            starts.setdefault(line.id, []).append(line)
    return starts


def _longest_gap_s(sent: Iterable[Sent], told: Iterable[Told], answered: Iterable[Told]) -> float:
    asked_at = [query.at for query in sent]
    told_at = [answer.at for answer in told]
    if not asked_at:
        return 0.0
    moments = sorted([min(asked_at), *(answer.at for answer in answered), max(asked_at + told_at)])
    return max(later - earlier for earlier, later in pairwise(moments))
