"""The digests of records in the audit log (`zpcode.rules.record_digest`): added with the record, and read by its name."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from itertools import islice
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeVar

from sqlalchemy import Connection, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Text

from zpcode.rules.audit import Entry
from zpcode.rules.record_digest import ALL, COVERED, MAX_RECORDS, RECORDS, WRITERS, LoggedDigest
from zpcode.store import audit

ACTION: Final = "records"
"""The action of the entries with the digests that one entry cannot take."""
_NAMES: Final = "jsonb_path_query_array(a.detail, '$.records.keyvalue().key', '{}', true)"
"""The names in an entry: the expression of the index `audit_records`."""
_LOGGED: Final = text(
    "SELECT DISTINCT ON (r.key) r.key, r.value, a.id, a.at, a.actor, a.action"  # noqa: S608 - constant texts, see above
    " FROM audit a CROSS JOIN LATERAL jsonb_each_text(a.detail -> 'records') r"
    f" WHERE a.detail ? 'records' AND {_NAMES} ?| :names AND r.key = ANY(:names)"
    " ORDER BY r.key, a.id DESC"
).bindparams(bindparam("names", type_=ARRAY(Text)))
_OF_KINDS: Final = (
    "FROM (SELECT DISTINCT ON (r.key) r.key, r.value"
    " FROM audit a CROSS JOIN LATERAL jsonb_each_text(a.detail -> 'records') r"
    " WHERE a.detail ? 'records' AND split_part(r.key, ':', 1) = ANY(:kinds) ORDER BY r.key, a.id DESC) newest WHERE value IS NOT NULL"
)
_MANY: Final = 5000
T = TypeVar("T")


class NewEntry(NamedTuple):
    """An entry before it has its number."""

    at: datetime
    actor: str
    action: str
    object: str
    detail: Mapping[str, Any] = MappingProxyType({})


def append(connection: Connection, records: Mapping[str, str | None], entry: NewEntry) -> int:
    """Add an entry with the digests of the records that its use case writes (None: that it removes); return its id.

    Digests that do not fit into it are in entries before it, about the same object.
    """
    at, actor, action, object_, detail = entry
    parts = [dict(part) for part in _parts(sorted(records.items()), MAX_RECORDS)] or [{}]
    for part in parts[:-1]:
        audit.append(connection, at=at, actor=actor, action=ACTION, object_=object_, detail={RECORDS: part})
    last = {**detail, RECORDS: parts[-1]}
    return audit.append(connection, at=at, actor=actor, action=action, object_=object_, detail=last)


def _parts(values: Iterable[T], size: int) -> Iterator[list[T]]:
    """The values in lists of at most `size`."""
    rest = iter(values)
    while part := list(islice(rest, size)):
        yield part


def logged(connection: Connection, names: Collection[str]) -> dict[str, LoggedDigest]:
    """What the newest entries with these names say, by name; names without an entry are left out."""
    result: dict[str, LoggedDigest] = {}
    for part in _parts(names, _MANY):
        for row in connection.execute(_LOGGED, {"names": part}):
            result[row.key] = LoggedDigest(row.value, row.id, row.at, row.actor, row.action)
    return result


def is_covered(connection: Connection) -> bool:
    """Whether each record needs a digest: the log begins with digests, or `zpcode audit adopt` has run to its end.

    Reads the log up to the first entry that wrote a record.
    """
    first = text(
        "SELECT detail ? 'records' FROM audit WHERE action = ANY(:writers) ORDER BY id LIMIT 1"
    ).bindparams(bindparam("writers", list(WRITERS), ARRAY(Text)))  # fmt: skip
    if connection.execute(first).scalar_one_or_none() is not False:
        return True
    ended = text("SELECT EXISTS (SELECT FROM audit WHERE object = :object AND action = :action)")
    return bool(connection.execute(ended, {"object": ALL, "action": COVERED}).scalar_one())


def names_of(connection: Connection, kinds: Collection[str]) -> Iterator[list[str]]:
    """The names of the logged records of these kinds that are not removed, up to 500 at a time, in order."""
    query = text(f"SELECT key {_OF_KINDS} ORDER BY key").execution_options(yield_per=MAX_RECORDS)
    for part in connection.execute(query, {"kinds": list(kinds)}).scalars().partitions():
        yield list(part)


def count_of(connection: Connection, kinds: Collection[str]) -> int:
    """The number of these names."""
    return int(connection.execute(text(f"SELECT count(*) {_OF_KINDS}"), {"kinds": list(kinds)}).scalar_one())


def entries(connection: Connection, name: str, limit: int) -> list[Entry]:
    """Up to `limit` entries with the digest of a record, newest first."""
    query = text(
        f"SELECT a.* FROM audit a WHERE a.detail ? 'records' AND {_NAMES} ?| :names ORDER BY a.id DESC LIMIT :limit"  # noqa: S608 - constant text, see above
    ).bindparams(bindparam("names", [name], ARRAY(Text)), bindparam("limit", limit))
    rows = connection.execute(query)
    return [Entry(row.id, row.at, row.actor, row.action, row.object, row.detail) for row in rows]
