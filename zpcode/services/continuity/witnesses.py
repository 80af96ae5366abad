"""The witnesses of how far the database had come: Redis, the folder of code files, and the signer.

A witness that does not answer proves nothing and stops nothing. What it said before stays valid.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from redis.exceptions import RedisError

from keys.client import SigningService
from zpcode.errors import SignerError, Text, Unavailable
from zpcode.projection import client, head_keys, heads
from zpcode.projection.client import AnyRedis
from zpcode.projection.heads import ShardHead
from zpcode.rules.continuity import DatabaseMarks, Marks
from zpcode.services.batches.code_folder import CodeFolder
from zpcode.store import continuity
from zpcode.store.database.session import Connection
from zpcode.wire.payload import MAX_BATCH

SIGNER: Final = "signer"
_FILE: Final = re.compile(r"batch-([0-9]{1,8})\..+", re.ASCII)
WITNESS_SECONDS: Final = 0.2
"""How long the signer may take to answer: a decision does not wait for it."""
_EXAMINED: Final = 20_000
"""So many files are remembered as authentic or not: a few megabytes."""
_SILENT: Final = Text("没有应答", "it does not answer")


class Testimony(NamedTuple):
    """What a witness says: marks, the numbers of the batches that it has files of, and of those that it has signed codes of.

    `complete`: whether it remembers anything at all. A server of Redis that was emptied answers and knows nothing.
    `damage` is what of its record cannot be read; empty where all can be. `heads` are the heads of Redis that this was read from.
    `authentic` says of which of these batches there is a file that this installation has begun.
    """

    marks: tuple[Marks, ...] = ()
    files: tuple[int, ...] = ()
    complete: bool = True
    damage: str = ""
    signed: tuple[int, ...] = ()
    heads: tuple[ShardHead, ...] = ()
    authentic: Callable[[Collection[int]], set[int]] = set

    def without_forged(self, connection: Connection, database: DatabaseMarks) -> Testimony:
        """The same without the forged heads of Redis, which prove nothing. A server whose head is forged remembers nothing."""
        sifted = head_keys.of(connection).sift(self.heads, database) if self.heads else head_keys.SiftedHeads()
        return testimony_of(sifted.believed)._replace(complete=False) if sifted.forged else self

    def unproven_files(self, missing: Collection[int], connection: Connection, database: DatabaseMarks) -> set[int]:
        """Those of these files, whose batches the database does not have, that prove nothing: this installation has not begun them.

        None while the key under which the heads of this database are written is not at hand: then the key of the files may be lost
        too. While it is, a file that is unencrypted, or under an unknown key, is older than the record of that key in this database,
        and so is its batch.
        """
        if not missing or not head_keys.of(connection).has(database.head_key):
            return set()
        return {*missing} - self.authentic(missing)

    def with_proven_files(self, connection: Connection, database: DatabaseMarks) -> Testimony:
        """The same without the files that prove nothing."""
        missing = {*self.files} - continuity.batches_with_record(connection, self.files)
        unproven = self.unproven_files(missing, connection, database)
        return self._replace(files=tuple(number for number in self.files if number not in unproven))


def testimony_of(present: Sequence[ShardHead]) -> Testimony:
    """What the heads of all shards of Redis say."""
    marks = tuple(head.marks for head in present if head.revision >= 0)
    damage = next((head.damage for head in present if head.damage), "")
    return Testimony(marks, complete=len(marks) == len(present), damage=damage, heads=tuple(present))


class Witness(Protocol):
    """One witness. `lasts` is how long (seconds) a testimony may be used again instead of asking anew."""

    @property
    def name(self) -> str: ...  # noqa: D102 - described above

    @property
    def lasts(self) -> float: ...  # noqa: D102

    def read(self) -> Testimony:
        """Ask it. Raises Unavailable if it does not answer."""
        ...


class RedisWitness:
    """The heads of the projection. They are asked in every transaction that writes."""

    name: Final = heads.WITNESS
    lasts: Final = 0.0

    def __init__(self, redis: AnyRedis) -> None:
        self._redis = redis

    def read(self) -> Testimony:
        """The marks in the heads of all shards."""
        try:
            return testimony_of(heads.of_layout(client.layout(self._redis)))
        except RedisError as error:
            raise Unavailable(_SILENT) from error


class FilesWitness:
    """The folder of code files, finished or not. It is listed again only after it has changed.

    Without `key_file` every file is authentic.
    """

    name: Final = "files"
    lasts: Final = 0.0

    def __init__(self, directory: Path, key_file: Path | None = None) -> None:
        self._directory = directory
        self._folder = None if key_file is None else CodeFolder(directory, key_file)
        self._listed: tuple[int, Testimony] = (-1, Testimony())
        self._examined: dict[tuple[str, int, int, int], bool] = {}

    def read(self) -> Testimony:
        """The batch numbers in the names of all files. A folder that does not exist (an unmounted disk) does not answer."""
        try:
            changed = self._directory.stat().st_mtime_ns
            if changed != self._listed[0]:
                files = tuple(numbers_of(self._directory))
                self._listed = changed, Testimony(files=files, authentic=self.authentic)
        except OSError as error:
            raise Unavailable(_SILENT) from error
        return self._listed[1]

    def authentic(self, numbers: Collection[int]) -> set[int]:
        """Those of these batches of which there is a file that this installation has begun; all of them if nobody can tell."""
        if self._folder is None:
            return {*numbers}
        try:
            candidates = [(path, number) for path, number in _files_in(self._directory) if number in numbers]
            return {number for path, number in candidates if self._is_authentic(self._folder, path, number)}
        except (OSError, Unavailable):
            return {*numbers}

    def _is_authentic(self, folder: CodeFolder, path: Path, number: int) -> bool:
        """Whether a file is authentic. It is read again only after it has changed: anybody's files may be many."""
        status = path.lstat()
        key = path.name, status.st_ino, status.st_size, status.st_mtime_ns
        if key not in self._examined:
            if len(self._examined) >= _EXAMINED:
                self._examined.clear()
            self._examined[key] = folder.is_authentic(path, number)
        return self._examined[key]


class SignerWitness:
    """The signer: the highest batch number that it signed, and the newest audit entry that it countersigned."""

    name: Final = SIGNER
    lasts: Final = 5.0

    def __init__(self, signer: SigningService) -> None:
        self._signer = signer

    def read(self) -> Testimony:
        """Its own log's tail. Of the signed batches it is the highest one: `zpcode recover` reads the others in the log."""
        try:
            reached = self._signer.high_water()
        except SignerError as error:
            raise Unavailable(_SILENT) from error
        marks = Marks(batch=reached.batch, audit=reached.audit_id, audit_hash=reached.audit_hash.hex())
        return Testimony((marks,), signed=(reached.batch,) if reached.batch else ())


def numbers_of(directory: Path) -> Sequence[int]:
    """The batch numbers of the code files in a folder, in order. A name with a number that no batch can have is no code file's."""
    return sorted({number for _, number in _files_in(directory)})


def _files_in(directory: Path) -> Iterator[tuple[Path, int]]:
    """The files whose names have the number of a batch, with that number."""
    for path in directory.iterdir():
        match = _FILE.fullmatch(path.name)
        if match is not None and 1 <= int(match[1]) <= MAX_BATCH:
            yield path, int(match[1])
