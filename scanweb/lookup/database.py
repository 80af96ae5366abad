"""The database as a scan sees it: one view, by key. Asked where Redis misses, cannot answer or is not believed.

The only module of the scan service with SQL in it. The view `scan_view(key, revision, body)` holds the
cards, histories (`h:NUMBER:INDEX`, body a JSON array) and one row `head` with the newest revision.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import TextClause, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from scanweb.lookup.batcher import Batcher
from scanweb.lookup.memory import CardRow, Rows
from zpcode.errors import Text, Unavailable

_LOG = logging.getLogger(__name__)
_AWAY = Text("数据库没有应答", "the database does not answer")
_LAGS = Text("数据库副本落后", "the database lags behind what is known already")
_KEYS: Final = text("SELECT key, revision, body FROM scan_view WHERE key = ANY(:keys)")
_HEAD: Final = text("SELECT revision FROM scan_view WHERE key = 'head'")
_SINCE: Final = text(
    "SELECT key, revision, body FROM scan_view WHERE revision > :revision ORDER BY revision LIMIT :bound"
)

FAILURES = 3
_HEAD_KEY: Final = "head"
_CARDS: Final = "pbl"
_STANDINGS: Final = "sx"
GRACE = 2.5
"""A late query is left to end by itself, by the server's own limits, for so long: breaking off a connection that is
just being made would leave it open at the server's end."""
LINGER = 0.25
"""Seconds for which what was read of a card is good for whoever asks next: when Redis has just been emptied, all the
scans of the next moments ask for the same few. Histories never linger, nor does a batch that is not there: it is good
the moment it is committed."""
_AT_ONCE = 200


class _Read(NamedTuple):
    """What stood under a key when the database's head was `head`."""

    row: CardRow | None
    head: int


class Database:
    """The view, asked in shared queries. `queries` counts them, `joined` the reads that joined one under way.

    At most `limit` queries run at once, and nobody waits for one longer than `deadline` seconds. After three
    failures in a row nobody but the watch asks, until it has had an answer.

    `floor` tells the highest revision this process has met. A read replica that lags behind it is as good as no
    database: what it says was overruled already.
    """

    def __init__(self, url: str, *, limit: int, deadline: float, floor: Callable[[], int] = lambda: 0) -> None:
        self.queries = self.joined = 0
        self._floor = floor
        self._limit = limit
        self._failures = 0 if url else FAILURES
        self.deadline = deadline
        self._engine = _engine(url, limit, deadline) if url else None
        self._gather: Batcher[str, _Read] = Batcher(
            self._trip, limit=limit, size=_AT_ONCE, deadline=deadline, grace=GRACE
        )
        self._probes: Batcher[tuple[TextClause, dict[str, Any]], list[CardRow]] = Batcher(
            self._probe, limit=1, size=1, deadline=deadline, grace=GRACE
        )
        self._flights: dict[str, asyncio.Future[_Read]] = {}

    @property
    def up(self) -> bool:
        """Whether it is worth asking."""
        return self._failures < FAILURES

    async def open(self) -> None:
        """Make the connections that an outage of Redis will need at once: making one takes longer than reading a card.

        A database that is not there is no error: they are made when it is asked.
        """
        if self._engine is not None:
            opening = asyncio.gather(*(self._query(_HEAD, {}) for _ in range(self._limit)), return_exceptions=True)
            await asyncio.wait([opening], timeout=GRACE)

    async def read(self, keys: Sequence[str]) -> Rows:
        """The rows under these keys, those that exist. Raises Unavailable.

        A key that is being read already, or was just now, is not read twice, unless the process has met a newer
        revision since.
        """
        if not self.up:
            raise Unavailable(_AWAY)
        floor = self._floor()
        found = dict(
            zip(keys, await self._land([self._flights.get(key) or self._start(key) for key in keys]), strict=True)
        )
        if stale := [key for key, read in found.items() if read.head < floor]:
            found |= zip(stale, await self._land([self._start(key) for key in stale]), strict=True)
        rows = ((key, read.row) for key, read in found.items() if read.row is not None)
        return Rows(rows, min((read.head for read in found.values()), default=floor))

    async def _land(self, flights: Sequence[asyncio.Future[_Read]]) -> list[_Read]:
        """What these flights bring. Whoever goes away does not take the answer from the others."""
        landed = await asyncio.gather(*map(asyncio.shield, flights), return_exceptions=True)
        for read in landed:
            if isinstance(read, BaseException):
                raise read
        return [read for read in landed if isinstance(read, _Read)]

    def _start(self, key: str) -> asyncio.Future[_Read]:
        flight = self._flights[key] = self._gather.ask(key)
        flight.add_done_callback(lambda _: self._linger(key, flight))
        return flight

    def _linger(self, key: str, flight: asyncio.Future[_Read]) -> None:
        landed = not flight.cancelled() and flight.exception() is None
        if landed and (key[0] in _STANDINGS or (key[0] in _CARDS and flight.result().row is not None)):
            flight.get_loop().call_later(LINGER, self._forget, key, flight)
        else:
            self._forget(key, flight)

    def _forget(self, key: str, flight: asyncio.Future[_Read]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]

    async def head(self) -> int:
        """The newest revision. Raises Unavailable. For the watch: asked even when all others may not."""
        floor = self._floor()
        rows = await self._probes.ask((_HEAD, {}))
        return _not_below(floor, rows[0].revision)

    async def since(self, revision: int, bound: int, *, upto: int) -> list[CardRow]:
        """The first `bound` cards that changed after `revision`, of a database that has come as far as `upto`.

        Raises Unavailable, also where the answer is of a replica that has not. For the watch.
        """
        rows = await self._probes.ask((_SINCE, {"revision": revision, "bound": bound + 1}))
        if len(rows) <= bound:  # else there are more, and the newest of all, the head, is not among them
            _not_below(upto, max((row.revision for row in rows), default=revision))
        return [row for row in rows if row.key != _HEAD_KEY][:bound]

    async def close(self) -> None:
        """Close every connection."""
        await self._gather.close()
        await self._probes.close()
        if self._engine is not None:
            await self._engine.dispose()

    async def _trip(self, keys: Sequence[str]) -> Sequence[_Read]:
        floor = self._floor()  # as it was before the question: it may rise meanwhile
        rows = {row.key: row for row in await self._query(_KEYS, {"keys": [*keys, _HEAD_KEY]})}
        head = _not_below(floor, rows[_HEAD_KEY].revision)
        return [_Read(rows.get(key), head) for key in keys]

    async def _probe(self, questions: Sequence[tuple[TextClause, dict[str, Any]]]) -> Sequence[list[CardRow]]:
        return [await self._query(*question) for question in questions]

    async def _query(self, statement: TextClause, values: dict[str, Any]) -> list[CardRow]:
        if self._engine is None:
            raise Unavailable(_AWAY)
        self.queries += 1
        try:
            async with self._engine.connect() as connection:
                found = await connection.execute(statement, values)
                rows = [_row(row) for row in found]
        except (SQLAlchemyError, OSError, TimeoutError) as error:
            self._failed()
            raise Unavailable(_AWAY) from error
        except asyncio.CancelledError:
            self._failed()
            raise
        self._failures = 0
        return rows

    def _failed(self) -> None:
        self._failures += 1
        if self._failures == FAILURES:
            _LOG.warning("the database does not answer; scans go on without it")


def _not_below(floor: int, revision: int) -> int:
    """The revision a database stands at. Raises Unavailable where it lags behind what is known."""
    if revision < floor:
        raise Unavailable(_LAGS)
    return revision


def _row(row: Any) -> CardRow:
    return CardRow(_HEAD_KEY, int(row[0]), b"") if len(row) == 1 else CardRow(row[0], int(row[1]), bytes(row[2]))


def _engine(url: str, limit: int, deadline: float) -> AsyncEngine:
    """Autocommit, because a read of one statement needs no transaction around it."""
    return create_async_engine(
        url.replace("postgresql://", "postgresql+psycopg://", 1),
        pool_size=limit + 1,
        max_overflow=0,
        pool_timeout=deadline / 2,
        pool_pre_ping=False,
        isolation_level="AUTOCOMMIT",
        connect_args={
            "connect_timeout": 2,
            "options": f"-c statement_timeout={int(deadline * 900)} -c default_transaction_read_only=on -c timezone=UTC",
        },
    )
