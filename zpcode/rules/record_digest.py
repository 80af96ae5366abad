"""The digest of a stored record, which the audit log has, and where stored records differ from the log.

Somebody who has the database role of the authority can change a row past the service. So each use case that writes a record puts the
record's digest into its entry of the log, in the member RECORDS: `{name: digest}`, `{name: null}` for a record that it removes. The
newest entry with a name says how the record has to be.

The digest is SHA-256 over canonical JSON (as RFC 8785 for this data: sorted ASCII names, no blanks, UTF-8). Members that are None are
left out, so a new field with a default of None changes no digest.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

RECORDS: Final = "records"
"""The member of an entry's detail that has the digests."""
MAX_RECORDS: Final = 500
"""The most digests in one entry, about 40 KB. What an import writes beyond that is in further entries."""
VERSION: Final = "1"
"""The version of the canonical form. It is the first part of a digest, so that digests of two forms are never taken for equal."""
ADOPT: Final = "records.adopt"
"""The entries of `zpcode audit adopt`: digests of records as they are stored, in the name of the operator."""
COVERED: Final = "records.covered"
"""The entry that ends `zpcode audit adopt`: from then on, each record needs a digest."""
ALL: Final = "records"
"""The object of these entries."""
WRITERS: Final = ("registry.import", "batch.reserve", "complaint.receive")
"""The entries by which records are first written. In a log that begins with digests, each record needs one."""


@dataclass(frozen=True, slots=True)
class LoggedDigest:
    """What the newest entry with the name of a record says: the digest, None for a removed record; and the entry."""

    digest: str | None
    entry: int
    at: datetime
    actor: str
    action: str


@dataclass(frozen=True, slots=True)
class RecordMismatch:
    """A record that differs from the audit log.

    `kind`: `altered`; `unlogged` (no entry has it, or its removal is logged); `missing` (it is logged and is not there);
    `uncovered` (no entry has it, and `zpcode audit adopt` has not run since records have digests).
    """

    name: str
    kind: str
    logged: LoggedDigest | None = None

    @property
    def is_alarming(self) -> bool:
        """Whether somebody changed the record past the service. A record without a first digest says nothing about that."""
        return self.kind != "uncovered"


def canonical(value: Any) -> bytes:
    """The canonical JSON of strings, integers, booleans, null, lists and objects."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("utf-8")


def digest(kind: str, fields: Mapping[str, Any]) -> str:
    """The digest of a record of a kind, such as `batch`: the version, a colon, and 43 characters of base64url.

    `fields` has JSON values and aware times. Members that are None are left out.
    """
    shown = {name: _plain(value) for name, value in fields.items() if value is not None}
    hashed = hashlib.sha256(canonical([VERSION, kind, shown])).digest()
    return f"{VERSION}:{base64.urlsafe_b64encode(hashed).rstrip(b'=').decode('ascii')}"


def _plain(value: Any) -> Any:
    return utc_text(value) if isinstance(value, datetime) else value


def utc_text(at: datetime) -> str:
    """An aware time as the audit log has it, to the microsecond: `2026-11-21T04:00:00.000000+00:00`."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def mismatches(
    stored: Mapping[str, str], logged: Mapping[str, LoggedDigest], *, covered: bool
) -> Iterator[RecordMismatch]:
    """Compare stored records with the newest digests of the log, both by name. `covered`: each record needs a digest.

    A name that is only in `logged` is a missing record, unless its removal is logged.
    """
    for name in logged.keys() - stored.keys():
        if logged[name].digest is not None:
            yield RecordMismatch(name, "missing", logged[name])
    for name, stored_digest in stored.items():
        entry = logged.get(name)
        if entry is None:
            yield RecordMismatch(name, "unlogged" if covered else "uncovered")
        elif entry.digest is None:
            yield RecordMismatch(name, "unlogged", entry)
        elif entry.digest != stored_digest:
            yield RecordMismatch(name, "altered", entry)
