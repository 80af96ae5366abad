"""Names of WAL segments, and which of them a recovery lacks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zpcode.rules import backups

MIB = 1 << 20


@pytest.mark.parametrize(
    ("lsn", "segment_bytes", "name"),
    [
        ("0/2000028", 16 * MIB, "000000010000000000000002"),
        ("0/FFFFFFFF", 16 * MIB, "0000000100000000000000FF"),
        ("1/0", 16 * MIB, "000000010000000100000000"),
        ("A/FE000000", 16 * MIB, "000000010000000A000000FE"),
        ("1/40000000", 1024 * MIB, "000000010000000100000001"),
    ],
)
def test_a_segment_is_named_as_postgresql_names_it(lsn: str, segment_bytes: int, name: str) -> None:
    """`pg_walfile_name` of PostgreSQL 18 gave these names on a server with such segments."""
    assert backups.segment_name(1, backups.segment_at(lsn, segment_bytes), segment_bytes) == name


@given(st.integers(0, (1 << 64) - 1), st.sampled_from([MIB, 16 * MIB, 1024 * MIB]), st.integers(1, 2**31 - 1))
def test_the_number_of_a_segment_is_read_back_from_its_name(place: int, segment_bytes: int, timeline: int) -> None:
    number = place // segment_bytes
    name = backups.segment_name(timeline, number, segment_bytes)
    assert backups.numbered([name], timeline, segment_bytes) == {number: name}
    assert backups.offset(backups.lsn(place)) == place


def test_a_complete_segment_goes_before_a_partial_one_and_other_files_are_ignored() -> None:
    names = [
        "000000010000000000000002.partial",
        "000000010000000000000002",
        "000000010000000000000003.partial",
        "000000020000000000000004",
        "00000002.history",
        "000000010000000000000002.00000028.backup",
    ]
    assert backups.numbered(names, 1, 16 * MIB) == {2: names[1], 3: names[2]}


@pytest.mark.parametrize(
    ("segments", "first", "absent"),
    [({2, 3, 4}, 2, []), ({2, 4, 7}, 2, [3, 5, 6]), ({4}, 2, [2, 3]), (set(), 2, []), ({1, 2}, 2, []), ({1}, 2, [])],
)
def test_what_a_recovery_lacks_is_between_its_beginning_and_the_last_segment(
    segments: set[int], first: int, absent: list[int]
) -> None:
    assert backups.missing(segments, first) == absent
