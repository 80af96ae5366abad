"""The memory of a process: a newer card is never replaced by an older one, and no card outlives its generation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec
import pytest

from scanweb.lookup.memory import FRESH_SECONDS, CardEntry, Memory, decode_entry
from scanweb.lookup.redis_reader import changed_keys
from zpcode.wire.card import BatchCard, LotCard

OLD, NEW = CardEntry(LotCard("1", "old"), 4), CardEntry(LotCard("1", "new"), 9)


def filled_memory(size: int = 4) -> Memory:
    """A memory that agrees with revision 5 of one generation, with one card."""
    memory = Memory(size)
    memory.believe("g", 5, {})
    memory.put("l:1:A", OLD)
    return memory


def test_a_newer_card_is_never_replaced_by_an_older() -> None:
    memory = filled_memory()
    memory.put("l:1:A", NEW)
    memory.put("l:1:A", OLD)
    assert memory.get("l:1:A") is NEW


def test_a_card_of_the_same_revision_changes_nothing() -> None:
    """So a scan whose card another scan has read meanwhile does not begin again."""
    memory = filled_memory()
    before = (memory.version, memory.changes)
    memory.put("l:1:A", CardEntry(LotCard("1", "old"), OLD.revision))
    assert memory.get("l:1:A") is OLD
    assert (memory.version, memory.changes) == before


def test_what_the_log_names_is_forgotten_and_nothing_else() -> None:
    memory = filled_memory()
    memory.put("l:1:B", OLD)
    memory.advance(6, {"l:1:A", "x:1:2", ""})
    assert (memory.get("l:1:A"), memory.get("l:1:B"), memory.revision) == (None, OLD, 6)


def test_a_gap_in_the_log_forgets_everything() -> None:
    memory = filled_memory()
    memory.advance(6, None)
    assert memory.get("l:1:A") is None


def test_another_generation_forgets_everything() -> None:
    memory = filled_memory()
    memory.begin("h", 3)
    assert (memory.get("l:1:A"), memory.generation, memory.revision) == (None, "h", 3)


def test_what_the_database_has_newer_lies_over_what_redis_said_until_redis_has_it_too() -> None:
    memory = filled_memory()
    memory.believe("g", 5, {"l:1:A": NEW, "x:1:2": NEW})
    assert memory.get("l:1:A") is NEW
    memory.put("l:1:A", OLD)
    assert memory.get("l:1:A") is NEW
    memory.advance(8, set())
    assert memory.get("l:1:A") is NEW
    memory.advance(9, {"l:1:A", "x:1:2"})
    assert (memory.get("l:1:A"), memory.overlay) == (None, {})


def test_what_the_database_has_newer_is_not_taken_back_before_memory_has_followed_redis() -> None:
    """Redis has the new card, but no round trip has removed the old one from memory yet."""
    memory = filled_memory()
    memory.believe("g", 5, {"l:1:A": NEW})
    memory.believe("g", 9, {})
    assert memory.get("l:1:A") is NEW
    memory.advance(9, {"l:1:A"})
    assert (memory.get("l:1:A"), memory.overlay) == (None, {})


def test_the_overlay_keeps_the_newest_card_of_the_database() -> None:
    memory = filled_memory()
    memory.believe("g", 5, {"l:1:A": NEW})
    memory.believe("g", 5, {"l:1:A": CardEntry(LotCard("1", "between"), 7)})
    assert memory.get("l:1:A") is NEW
    newest = CardEntry(LotCard("1", "newest"), 11)
    memory.believe("g", 5, {"l:1:A": newest})
    assert memory.get("l:1:A") is newest


def test_following_the_database_replaces_what_changed() -> None:
    memory = filled_memory()
    memory.doubt()
    memory.follow(9, {"l:1:A": NEW, "l:1:Z": NEW}, at=100.0)
    assert (memory.get("l:1:A"), memory.get("l:1:Z")) == (NEW, None)
    assert memory.fresh(100.0 + FRESH_SECONDS / 2)
    assert not memory.fresh(100.0 + FRESH_SECONDS)


def test_doubt_ends_freshness_at_once() -> None:
    memory = filled_memory()
    memory.follow(5, {}, at=100.0)
    memory.doubt()
    assert not memory.fresh(100.1)


def test_a_database_that_went_back_in_time_forgets_everything() -> None:
    memory = filled_memory()
    memory.doubt()
    memory.follow(3, {}, at=1.0)
    assert memory.get("l:1:A") is None


def test_the_least_recently_used_card_goes_first() -> None:
    memory = filled_memory(size=2)
    memory.put("l:1:B", OLD)
    memory.get("l:1:A")
    memory.put("l:1:C", OLD)
    assert [memory.get(key) is None for key in ("l:1:A", "l:1:B", "l:1:C")] == [False, True, False]


def test_every_change_to_what_is_given_changes_the_version() -> None:
    memory = filled_memory()
    versions = {memory.version}
    changes: list[Callable[[], object]] = [
        partial(memory.put, "l:1:B", OLD),
        partial(memory.drop, ["l:1:B"]),
        partial(memory.advance, 6, set()),
        partial(memory.advance, 7, None),
        partial(memory.believe, "g", 7, {"l:1:A": NEW}),
        partial(memory.follow, 9, {}, 1.0),
        memory.clear,
    ]
    for change in changes:
        change()
        assert memory.version not in versions
        versions.add(memory.version)


def test_a_body_that_is_not_of_its_kind_is_refused() -> None:
    with pytest.raises(msgspec.MsgspecError):
        decode_entry("p:1", 1, b"\x80")
    with pytest.raises(ValueError, match="permutation key"):
        decode_entry("b:1", 1, msgspec.msgpack.encode(BatchCard(1, "g", "item", 1, b"short", b"")))


LOG = [[b"5-0", [b"k", b"a"]], [b"7-0", [b"k", b"p:1\ns:lot:1:X"]], [b"9-0", [b"k", b"b:2"]]]


def test_the_log_names_what_changed_between_two_revisions() -> None:
    assert changed_keys(LOG, 5, 9) == {"a", "p:1", "s:lot:1:X", "b:2"}
    assert changed_keys(LOG[:2], 5, 7) == {"a", "p:1", "s:lot:1:X"}


@pytest.mark.parametrize("entries", [[], LOG[1:], LOG[:2], None, ValueError("refused")])
def test_a_log_that_does_not_reach_from_one_to_the_other_says_nothing(entries: object) -> None:
    assert changed_keys(entries, 5, 9) is None
