"""Which heads in Redis count as a witness: those that this installation has written (docs/adr/0016).

The database has the fingerprint of the key under which every head is written (`continuity.head_key`). While a process has that key,
a head without a valid code is a forgery: it proves nothing and stops nothing, and the projector replaces it. While the
fingerprint is missing (heads of a version before) or is that of a key that is lost, every head counts.

So no process writes a head under another key than the recorded one before it has recorded that (`begin`), and a key is recorded as
the only one after all heads are written under it (`conclude`).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from zpcode.errors import Unavailable
from zpcode.projection import heads
from zpcode.projection.heads import ShardHead, decode
from zpcode.rules.continuity import DatabaseMarks
from zpcode.rules.head_key import HeadKey, maker
from zpcode.store import continuity
from zpcode.store.database.session import Connection, Engine, transaction

_OPTION: Final = "head_keys"
_SHOWN_BYTES: Final = 400
_logger = logging.getLogger(__name__)
_derived = lru_cache(16)(HeadKey.derived)


class SiftedHeads(NamedTuple):
    """Heads that count, and forgeries."""

    believed: tuple[ShardHead, ...] = ()
    forged: tuple[ShardHead, ...] = ()


class ComparedHeads(NamedTuple):
    """The marks of a database that is not behind the heads that count, and the forged heads."""

    database: DatabaseMarks
    forged: tuple[ShardHead, ...] = ()


class HeadKeys:
    """The keys of one process, and what it has met in Redis. Safe for threads.

    `secrets` reads the keys of the code files, the one that encrypts first; it raises Unavailable where there are none. `forged`
    counts the forged heads since the start.
    """

    def __init__(self, secrets: Callable[[], Sequence[bytes]]) -> None:
        self._secrets = secrets
        self._lock = threading.Lock()
        self._met = False
        self._last: tuple[ShardHead, ...] = ()
        self.forged = 0

    def install(self, engine: Engine) -> None:
        """Make every reader and writer of heads with this engine use these keys."""
        engine.update_execution_options(**{_OPTION: self})

    def present(self) -> tuple[HeadKey, ...]:
        """The keys as they are now, the one that writes first; none if the key file cannot be read."""
        try:
            return tuple(map(_derived, self._secrets()))
        except Unavailable:
            return ()

    def has(self, fingerprint: str) -> bool:
        """Whether the key with this fingerprint is at hand."""
        return fingerprint in {key.fingerprint for key in self.present()}

    def sift(self, present: Sequence[ShardHead], database: DatabaseMarks) -> SiftedHeads:
        """Which of these heads count, and which are forgeries.

        The head of another installation is a forgery only if this process has met a head of its own here: otherwise the address
        is wrong, and that Redis must not be overwritten.
        """
        keys = self.present()
        trusted = database.head_key in {key.fingerprint for key in keys}
        own = database.assigned.installation
        believed, forged = [], []
        for head in present:
            proven = is_proven(head, keys)
            if proven and head.marks.installation == own:
                self.meet()
            elsewhere = head.marks.installation not in {"", own} and not self._met
            if proven or not trusted or head == ShardHead() or elsewhere:
                believed.append(head)
            else:
                forged.append(head)
        self._note(tuple(forged))
        return SiftedHeads(tuple(believed), tuple(forged))

    def meet(self) -> None:
        """Note that the heads are of this installation: this process has just written them, or found them right."""
        self._met = True

    def _note(self, forged: tuple[ShardHead, ...]) -> None:
        """Count and log forgeries that were not there a moment ago."""
        with self._lock:
            new, self._last = [head for head in forged if head not in self._last], forged
            self.forged += len(new)
        for head in new:
            _logger.error(
                "a head in Redis is forged: it does not count and is replaced",
                extra={"marks": head.sealed[:_SHOWN_BYTES].decode("ascii", "backslashreplace")},
            )


_WITHOUT: Final = HeadKeys(tuple)


def of(connection: Connection) -> HeadKeys:
    """The keys of this connection's engine. An engine without any, as tests of single services have, believes every head."""
    keys: HeadKeys | None = connection.get_execution_options().get(_OPTION)
    return _WITHOUT if keys is None else keys


def is_proven(head: ShardHead, keys: Sequence[HeadKey]) -> bool:
    """Whether this installation has written a head.

    The projector writes the marks before the revision that they cover, so a revision above its marks is a forgery.
    """
    marks = decode(head.sealed)
    if marks is None or head.damage or head.revision > marks.revision:
        return False
    return maker(keys, head.sealed, head.code) is not None


def require_not_ahead(connection: Connection, present: Sequence[ShardHead]) -> ComparedHeads:
    """The marks of the database, read after these heads. Raises DatabaseBehind if a head that counts is ahead of them.

    The caller has the projector's lock, so no head changes before it writes.
    """
    database = continuity.marks(connection, heads.audit_ids(present))
    sifted = of(connection).sift(present, database)
    proofs = heads.ahead(sifted.believed, database)
    if proofs:
        for one in proofs:
            _logger.error("the database is behind", extra={"evidence": one.text.en})
        raise heads.refusal(proofs)
    return ComparedHeads(database, sifted.forged)


def begin(connection: Connection, database: DatabaseMarks) -> HeadKey | None:
    """The key to write heads with; None without a key file.

    If it is not the recorded one, another is recorded first, and committed: this key if the recorded one is at hand too (it
    was replaced by a newer one), otherwise none, so that every head counts while some have no valid code.
    """
    keys = of(connection).present()
    key = keys[0] if keys else None
    if database.head_key and (key is None or database.head_key != key.fingerprint):
        at_hand = database.head_key in {one.fingerprint for one in keys}
        with transaction(connection.engine) as first:
            continuity.record_head_key(first, key.fingerprint if key is not None and at_hand else "")
    return key


def conclude(connection: Connection, key: HeadKey | None, database: DatabaseMarks) -> None:
    """Record a key: all heads are written under it now."""
    if key is None:
        return
    of(connection).meet()
    if key.fingerprint != database.head_key:
        continuity.record_head_key(connection, key.fingerprint)
