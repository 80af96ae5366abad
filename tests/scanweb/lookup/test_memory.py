"""What a process remembers: never an older card in place of a newer, never what belongs to another generation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec
import pytest

from scanweb.lookup.memory import FRESH_SECONDS, CardEntry, Memory, decode_entry
from scanweb.lookup.redis_reader import changed_keys
from zpcode.wire.card import BatchCard, LotCard

OLD, NEW = CardEntry(LotCard("1", "old"), 4), CardEntry(LotCard("1", "new"), 9)


def memory(size: int = 4) -> Memory:
    """A memory that agrees with revision 5 of one generation, with one card."""
    found = Memory(size)
    found.believe("g", 5, {})
    found.put("l:1:A", OLD)
    return found


def test_a_newer_card_is_never_replaced_by_an_older() -> None:
    found = memory()
    found.put("l:1:A", NEW)
    found.put("l:1:A", OLD)
    assert found.get("l:1:A") is NEW


def test_what_the_log_names_is_forgotten_and_nothing_else() -> None:
    found = memory()
    found.put("l:1:B", OLD)
    found.advance(6, {"l:1:A", "x:1:2", ""})
    assert (found.get("l:1:A"), found.get("l:1:B"), found.revision) == (None, OLD, 6)


def test_a_gap_in_the_log_forgets_everything() -> None:
    found = memory()
    found.advance(6, None)
    assert found.get("l:1:A") is None


def test_another_generation_forgets_everything() -> None:
    found = memory()
    found.begin("h", 3)
    assert (found.get("l:1:A"), found.generation, found.revision) == (None, "h", 3)


def test_what_the_database_has_newer_lies_over_what_redis_said_until_redis_has_it_too() -> None:
    found = memory()
    found.believe("g", 5, {"l:1:A": NEW, "x:1:2": NEW})
    assert found.get("l:1:A") is NEW
    found.put("l:1:A", OLD)
    assert found.get("l:1:A") is NEW
    found.advance(8, set())
    assert found.get("l:1:A") is NEW
    found.advance(9, {"l:1:A", "x:1:2"})
    assert (found.get("l:1:A"), found.overlay) == (None, {})


def test_what_the_database_has_newer_is_not_taken_back_before_memory_has_followed_redis() -> None:
    """Redis has the card by now, but no round trip has dropped the old one from memory yet."""
    found = memory()
    found.believe("g", 5, {"l:1:A": NEW})
    found.believe("g", 9, {})
    assert found.get("l:1:A") is NEW
    found.advance(9, {"l:1:A"})
    assert (found.get("l:1:A"), found.overlay) == (None, {})


def test_following_the_database_replaces_what_changed() -> None:
    found = memory()
    found.doubt()
    found.follow(9, {"l:1:A": NEW, "l:1:Z": NEW}, at=100.0)
    assert (found.get("l:1:A"), found.get("l:1:Z")) == (NEW, None)
    assert found.fresh(100.0 + FRESH_SECONDS / 2)
    assert not found.fresh(100.0 + FRESH_SECONDS)


def test_doubt_ends_freshness_at_once() -> None:
    found = memory()
    found.follow(5, {}, at=100.0)
    found.doubt()
    assert not found.fresh(100.1)


def test_a_database_that_went_back_in_time_forgets_everything() -> None:
    found = memory()
    found.doubt()
    found.follow(3, {}, at=1.0)
    assert found.get("l:1:A") is None


def test_the_least_recently_used_card_goes_first() -> None:
    found = memory(size=2)
    found.put("l:1:B", OLD)
    found.get("l:1:A")
    found.put("l:1:C", OLD)
    assert [found.get(key) is None for key in ("l:1:A", "l:1:B", "l:1:C")] == [False, True, False]


def test_every_change_to_what_is_given_changes_the_version() -> None:
    found = memory()
    seen = {found.version}
    changes: list[Callable[[], object]] = [
        partial(found.put, "l:1:B", OLD),
        partial(found.drop, ["l:1:B"]),
        partial(found.advance, 6, set()),
        partial(found.advance, 7, None),
        partial(found.believe, "g", 7, {"l:1:A": NEW}),
        partial(found.follow, 9, {}, 1.0),
        found.clear,
    ]
    for change in changes:
        change()
        assert found.version not in seen
        seen.add(found.version)


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
