"""Backups without I/O: the manifest of one backup, and the names of WAL segments.

PostgreSQL names a WAL segment by timeline, and by its place in the log: eight hexadecimal digits each for the timeline, for
the place divided by 4 GiB, and for the segment within these 4 GiB (PostgreSQL manual, 28.6). A log sequence number (LSN) is
a place in the log in bytes, written as two hexadecimal numbers of 32 bits: `0/2000028`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

VERSION: Final = 1
PARTIAL: Final = ".partial"
"""What ends the name of the segment that is being received."""
_SEGMENT = re.compile(r"([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})(\.partial)?")
_FOUR_GIB = 1 << 32

Sha256 = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
Lsn = Annotated[str, Meta(pattern=r"\A[0-9A-F]{1,8}/[0-9A-F]{1,8}\Z")]
Count = Annotated[int, Meta(ge=0)]
Moment = Annotated[datetime, Meta(tz=True)]


class FileDigest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The size of a file in bytes, and its SHA-256 in hex."""

    bytes: Count
    sha256: Sha256


class BaseBackup(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The server that was copied, and the part of its WAL without which the copy is not consistent.

    `system` identifies the database cluster, `timeline` its history: both change only by a new cluster or by a recovery.
    `database` is the name of the authority's database, `superuser` the name of the role that owns the cluster.
    """

    major: Annotated[int, Meta(ge=15, le=99)]
    database: str
    superuser: str
    system: str
    timeline: Annotated[int, Meta(ge=1)]
    segment_bytes: Annotated[int, Meta(ge=1 << 20, le=1 << 30)]
    start: Lsn
    end: Lsn


class BackupManifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a backup contains. It is written last, so a backup without it is incomplete.

    `ended` is the earliest time to which the backup can be restored, by the clock of the database server. `embedded` is
    whether the server was one of this project's (docs/running.md). `files` has the digest of every file but the pictures
    and those that PostgreSQL's own manifest covers. `audit_count` and `audit_head` (hex) are of the last audit entry when
    the backup began: `zpcode audit verify` takes them.
    """

    version: Literal[1]
    started: Moment
    ended: Moment
    embedded: bool
    postgres: BaseBackup
    release: str
    schema: str
    audit_count: Count
    audit_head: Sha256
    last_batch: Count
    keyring_serial: Count
    root_fingerprint: str
    settings: dict[str, str]
    files: dict[str, FileDigest]


def offset(lsn_: str) -> int:
    """The place in the log of an LSN, in bytes."""
    high, _, low = lsn_.partition("/")
    return int(high, 16) << 32 | int(low, 16)


def lsn(place: int) -> str:
    """The LSN of a place in the log in bytes."""
    return f"{place >> 32:X}/{place & 0xFFFFFFFF:X}"


def segment_at(lsn_: str, segment_bytes: int) -> int:
    """The number of the WAL segment that contains an LSN."""
    return offset(lsn_) // segment_bytes


def segment_name(timeline: int, number: int, segment_bytes: int) -> str:
    """The file name of a WAL segment."""
    high, low = divmod(number, _FOUR_GIB // segment_bytes)
    return f"{timeline:08X}{high:08X}{low:08X}"


def numbered(names: Iterable[str], timeline: int, segment_bytes: int) -> dict[int, str]:
    """The segments of a timeline among these file names: number -> name. A complete segment goes before a partial one."""
    segments: dict[int, str] = {}
    for name in names:
        match = _SEGMENT.fullmatch(name)
        if match is not None and int(match[1], 16) == timeline:
            number = int(match[2], 16) * (_FOUR_GIB // segment_bytes) + int(match[3], 16)
            segments[number] = min(name, segments.get(number, name), key=len)
    return segments


def missing(segments: Collection[int], first: int) -> list[int]:
    """The numbers that a recovery from segment `first` would need and that are not there, up to the last that is."""
    return [number for number in range(first, max(segments, default=first - 1) + 1) if number not in segments]
