"""What the audit log says of the columns of a batch that change after its reservation, and where its row differs."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

from zpcode.rules.audit import Entry
from zpcode.rules.batches.batch import Batch, BatchState

ACTIONS: Final = tuple(
    f"batch.{action}"
    for action in ("reserve", "begin", "issue", "activate", "archive", "file-remove", "file-request", "file-write")
)
_RESERVED: Final[dict[str, Any]] = {
    "state": BatchState.RESERVED,
    "key_id": "",
    "sha256": "",
    "bytes": 0,
    "issued_at": None,
    "activated_at": None,
    "signatures_sha256": "",
    "file_removed_at": None,
    "file_requested_at": None,
}
_SERVICE: Final = "service:"


def expected(entries: Iterable[Entry]) -> dict[str, Any]:
    """The columns of a batch after its entries with ACTIONS, oldest first; empty without its reservation.

    A column that an entry of an earlier version does not tell is left out: the times of a batch that a recovery issued or activated.
    """
    columns: dict[str, Any] = {}
    for entry in entries:
        if entry.action == "batch.reserve":
            columns |= _RESERVED
        elif columns:
            columns |= _after(entry)
    return {name: value for name, value in columns.items() if value is not _UNKNOWN}


_UNKNOWN: Final = object()


def _after(entry: Entry) -> dict[str, Any]:
    detail = entry.detail
    match entry.action:
        case "batch.begin":
            return {"key_id": detail.get("key_id")}
        case "batch.issue":
            return {
                "state": BatchState.ISSUED,
                "sha256": detail.get("sha256"),
                "bytes": detail.get("bytes"),
                "key_id": detail.get("key_id"),
                "signatures_sha256": detail.get("signatures_sha256", ""),
                "issued_at": _time(entry, "issued_at"),
                "activated_at": _time(entry, "activated_at") if detail.get("active") else None,
            }
        case "batch.activate":
            return {"activated_at": _UNKNOWN if "recovered" in detail and "activated_at" not in detail else _at(entry)}
        case "batch.archive":
            return {"signatures_sha256": detail.get("signatures_sha256")}
        case "batch.file-remove":
            return {"file_removed_at": entry.at}
        case "batch.file-request":
            return {"file_requested_at": entry.at}
    return {"file_removed_at": None, "file_requested_at": entry.at}


def _time(entry: Entry, name: str) -> object:
    """A time of an issued batch. Entries of earlier versions have none: then it is that of the entry, except after a recovery."""
    if name in entry.detail:
        return datetime.fromisoformat(entry.detail[name])
    return entry.at if entry.actor.startswith(_SERVICE) else _UNKNOWN


def _at(entry: Entry) -> datetime:
    return datetime.fromisoformat(entry.detail["activated_at"]) if "activated_at" in entry.detail else entry.at


def differences(batch: Batch, entries: Iterable[Entry]) -> list[str]:
    """The columns in which a batch differs from its entries, in order."""
    return [name for name, value in expected(entries).items() if getattr(batch, name) != value]
