"""The answers in memory: believed for a second, dropped by age of use, gone when they are not fresh any more."""

from services.orchestrator.cache.entry import Entry, Generations, decode_entry
from services.orchestrator.cache.l1 import L1
from tests.support.clock import Clock

NOW: Generations = (b"1", b"1", b"1")
LATER: Generations = (b"2", b"1", b"1")


def entry(text: str = "result") -> Entry:
    return Entry(text.encode(), "w1")


def memory(clock: Clock, **options: int) -> L1:
    l1 = L1(clock, **options)
    clock.now += 0.001
    return l1


def put(l1: L1, clock: Clock, digest: str, kept: Entry, fresh_s: float = 60.0) -> None:
    l1.put(digest, kept, NOW, confirmed_at=clock.now, fresh_s=fresh_s)


def test_an_entry_is_believed_for_a_second_and_then_only_if_the_store_says_the_same() -> None:
    clock = Clock()
    l1 = memory(clock)
    put(l1, clock, "d", entry())
    clock.now += 0.99
    assert l1.trusted("d") == entry()
    clock.now += 0.02
    assert l1.trusted("d") is None
    assert l1.of_generations("d", NOW) == entry()
    assert l1.of_generations("d", LATER) is None


def test_after_a_flush_the_store_is_asked_about_what_it_said_before() -> None:
    clock = Clock()
    l1 = memory(clock)
    before = clock.now
    put(l1, clock, "d", entry())
    clock.now += 0.1
    l1.distrust()
    assert l1.trusted("d") is None
    l1.put("late", entry(), NOW, confirmed_at=before, fresh_s=60)  # asked before, told after
    assert l1.trusted("late") is None
    clock.now += 0.1
    put(l1, clock, "new", entry())
    assert l1.trusted("new") == entry()


def test_an_entry_that_is_not_fresh_any_more_is_gone() -> None:
    clock = Clock()
    l1 = memory(clock)
    put(l1, clock, "d", entry(), fresh_s=0.5)
    clock.now += 0.5
    assert l1.trusted("d") is None
    assert l1.of_generations("d", NOW) is None
    assert l1.bytes == 0


def test_memory_is_bounded_and_what_was_used_least_recently_goes_first() -> None:
    clock = Clock()
    l1 = memory(clock, largest_bytes=3 * 1500)
    for digest in ("a", "b", "c"):
        put(l1, clock, digest, entry("x" * 1000))
    assert l1.trusted("a") is not None
    put(l1, clock, "d", entry("x" * 1000))
    assert [digest for digest in "abcd" if l1.trusted(digest)] == ["a", "c", "d"]
    put(l1, clock, "d", entry("y" * 1000))
    assert l1.bytes == 3 * 1500


def test_entries_that_nobody_asks_for_again_are_dropped_once_they_are_old() -> None:
    clock = Clock()
    l1 = memory(clock)
    for digest in ("a", "b"):
        put(l1, clock, digest, entry(), fresh_s=1.0)
    put(l1, clock, "c", entry(), fresh_s=60.0)
    one = l1.bytes // 3
    clock.now += 1.0
    put(l1, clock, "d", entry())
    assert l1.bytes == 2 * one


def test_an_entry_comes_back_as_it_was_and_only_under_its_own_key() -> None:
    data = entry('{"a":\n1}').encode("digest")
    assert decode_entry(data, "digest") == entry('{"a":\n1}')
    assert decode_entry(data, "another") is None
    assert decode_entry(data[:-1], "digest") is None
    assert decode_entry(data.replace(b"1}", b"2}"), "digest") is None
    for garbage in (b"", b"\n", b"[]\n", b"\xff\x00", b'["digest","w1"]\n{}', b"not json\n{}"):
        assert decode_entry(garbage, "digest") is None
