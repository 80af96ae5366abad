"""What the audit log says of a batch after its reservation, also in entries of earlier versions."""
# A test's name is its sentence; a docstring stands where there is more to say.

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from zpcode.rules.audit import Entry
from zpcode.rules.batches.batch import Activation, Batch, BatchState, record_digest
from zpcode.rules.batches.log import differences, expected
from zpcode.rules.record_digest import utc_text
from zpcode.wire.payload import Level

AT = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)
BATCH = Batch(
    7, "U", "330110", "09501101530003", Level.ITEM, 100, "", None, None, "csv", "https://x", Activation.ON_ISSUE,
    "enterprise:U:k", AT, b"p" * 16, b"",
)  # fmt: skip
ISSUED = {"sha256": "a" * 64, "bytes": 5, "key_id": "K", "active": True}


def entries(*steps: tuple[str, dict[str, Any]], actor: str = "service:issuing") -> list[Entry]:
    """Entries about a batch, an hour apart, after its reservation."""
    every = [("reserve", {}), *steps]
    return [
        Entry(number, AT + timedelta(hours=number), actor, f"batch.{action}", "batch:7", detail)
        for number, (action, detail) in enumerate(every)
    ]


def hour(number: int) -> datetime:
    """The time of an entry."""
    return AT + timedelta(hours=number)


def test_without_its_reservation_nothing_is_known_of_a_batch() -> None:
    assert expected(entries(("issue", ISSUED))[1:]) == {}
    assert differences(BATCH, []) == []


def test_a_reserved_batch_has_no_file_and_no_time() -> None:
    assert differences(BATCH, entries()) == []
    assert differences(replace(BATCH, activated_at=AT), entries()) == ["activated_at"]
    assert differences(replace(BATCH, state=BatchState.ISSUED), entries()) == ["state"]


def test_each_entry_changes_its_columns() -> None:
    steps = entries(
        ("begin", {"key_id": "J"}), ("issue", ISSUED), ("archive", {"signatures_sha256": "b"}), ("file-remove", {}),
        ("file-request", {}), ("fetch", {"first": 0}), ("file-write", {}), ("file-remove", {}),
    )  # fmt: skip
    columns = expected(steps)
    assert columns == {
        "state": "issued", "key_id": "K", "sha256": "a" * 64, "bytes": 5, "issued_at": hour(2), "activated_at": hour(2),
        "signatures_sha256": "b", "file_removed_at": hour(8), "file_requested_at": hour(7),
    }  # fmt: skip
    right = replace(BATCH, **columns)
    assert differences(right, steps) == []
    for name in columns:
        other: dict[str, Any] = {name: "other"}
        assert differences(replace(right, **other), steps) == [name]


def test_a_batch_that_is_activated_later_has_the_time_of_that_entry() -> None:
    columns = expected(entries(("issue", ISSUED | {"active": False}), ("activate", {})))
    assert (columns["issued_at"], columns["activated_at"]) == (hour(1), hour(2))


def test_an_entry_says_the_times_itself_if_a_recovery_makes_it() -> None:
    times = {"issued_at": utc_text(AT), "activated_at": utc_text(AT)}
    columns = expected(entries(("issue", ISSUED | times), actor="operator:*:cli"))
    assert (columns["issued_at"], columns["activated_at"]) == (AT, AT)
    columns = expected(entries(("issue", ISSUED | {"active": False}), ("activate", {"recovered": True} | times)))
    assert columns["activated_at"] == AT


@pytest.mark.parametrize("last", [("issue", ISSUED), ("activate", {"recovered": True})])
def test_what_an_entry_of_an_earlier_version_does_not_say_is_not_compared(last: tuple[str, dict[str, Any]]) -> None:
    """The time of a batch that a recovery issued or activated."""
    steps = entries(last, actor="operator:*:cli")
    assert "activated_at" not in expected(steps)


@pytest.mark.parametrize(
    "change",
    [
        {"permutation_key": b"q" * 16},
        {"check_key": b"q" * 16},
        {"created_by": "x"},
        {"created_at": AT + timedelta(microseconds=1)},
        {"format": "jsonl"},
        {"quantity": 101},
        {"level": Level.COMPACT},
    ],
)
def test_the_digest_covers_what_was_reserved(change: dict[str, Any]) -> None:
    assert record_digest(replace(BATCH, **change)) != record_digest(BATCH)


def test_the_digest_is_that_of_the_reservation_for_good() -> None:
    later = replace(
        BATCH, state=BatchState.ISSUED, key_id="K", sha256="a", issued_at=AT, activated_at=AT, region="330203"
    )
    assert record_digest(later) == record_digest(BATCH)
