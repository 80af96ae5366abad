"""The database as a scan reads it: one view, by key. It is read where Redis misses, cannot answer or is not believed.

The only module of the scan service with SQL in it. The view `scan_view(key, revision, body)` holds the cards, the
histories (`h:NUMBER:INDEX`, body a JSON array) and one row `head` with the newest revision, or -1 if the database is
behind. Its body is not empty while a witness disagrees with the database (docs/recovery.md).
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
from zpcode import postgres_session
from zpcode.errors import Text, Unavailable

_LOG = logging.getLogger(__name__)
_AWAY = Text("数据库没有应答", "the database does not answer")
_LAGS = Text("数据库副本落后", "the database lags behind what is known already")
_KEYS: Final = text("SELECT key, revision, body FROM scan_view WHERE key = ANY(:keys)")
_HEAD: Final = text("SELECT key, revision, body FROM scan_view WHERE key = 'head'")
_SINCE: Final = text(
    "SELECT key, revision, body FROM scan_view WHERE revision > :revision ORDER BY revision LIMIT :bound"
)

FAILURES = 3
_HEAD_KEY: Final = "head"
_CARDS: Final = "pbl"
_STANDINGS: Final = "sx"
GRACE = 2.5
"""Seconds that a late query gets to end within the server's own limits. Breaking off a connection that is just being
made would leave it open at the server's end."""
REUSE_SECONDS = 0.25
"""How long a card that was read answers later reads too: when Redis was emptied, all scans of the next moment read the
same few cards. Histories are never reused, nor is "no such batch": a batch is good the moment it is committed."""
_MAX_KEYS = 200


class DatabaseHead(NamedTuple):
    """The newest revision. `lags`: newer ones are known already. `doubted`: a witness disagrees with the database."""

    revision: int
    lags: bool
    doubted: bool


class _RowAtHead(NamedTuple):
    """The row under a key (None: there is none) when the database's head was `head`. `lags`: newer revisions were known then."""

    row: CardRow | None
    head: int
    lags: bool


class Database:
    """The view, read with shared queries. `queries` counts them, `joined` the reads that joined one under way.

    At most `limit` queries run at once, and no caller waits longer than `deadline` seconds. After three failures in a
    row only `Freshness` asks, until it gets an answer.

    `floor` returns the highest revision this process has met. A read replica that stands below it is treated as no
    database: newer decisions are known already.
    """

    def __init__(self, url: str, *, limit: int, deadline: float, floor: Callable[[], int] = lambda: 0) -> None:
        self.queries = self.joined = 0
        self._floor = floor
        self._limit = limit
        self._failures = 0 if url else FAILURES
        self.deadline = deadline
        self._engine = _engine(url, limit, deadline) if url else None
        self._reads: Batcher[str, _RowAtHead] = Batcher(
            self._read_rows, limit=limit, size=_MAX_KEYS, deadline=deadline, grace=GRACE
        )
        self._probes: Batcher[tuple[TextClause, dict[str, Any]], list[CardRow]] = Batcher(
            self._probe, limit=1, size=1, deadline=deadline, grace=GRACE
        )
        self._futures: dict[str, asyncio.Future[_RowAtHead]] = {}

    @property
    def up(self) -> bool:
        """Whether the database answered lately, so that a read is worth trying."""
        return self._failures < FAILURES

    async def open(self) -> None:
        """Open the connections that an outage of Redis will need at once: opening one takes longer than reading a card.

        A database that does not answer is no error: connections are opened again when they are needed.
        """
        if self._engine is not None:
            opening = asyncio.gather(*(self._query(_HEAD, {}) for _ in range(self._limit)), return_exceptions=True)
            await asyncio.wait([opening], timeout=GRACE)

    async def read(self, keys: Sequence[str], *, behind: bool = False) -> Rows:
        """The rows under these keys, those that exist. Raises Unavailable; unless `behind`, also if the database lags or is behind.

        A key that is being read, or was read just now, is not read again, unless the process has met a newer revision
        since.
        """
        if not self.up:
            raise Unavailable(_AWAY)
        floor = self._floor()
        for key in keys:
            if key in self._futures:
                self.joined += 1
            else:
                self._start(key)
        reads = dict(zip(keys, await self._all([self._futures[key] for key in keys]), strict=True))
        if stale := [key for key, read in reads.items() if read.head < floor and not read.lags]:
            reads |= zip(stale, await self._all([self._start(key) for key in stale]), strict=True)
        if not behind and any(read.lags for read in reads.values()):
            raise Unavailable(_LAGS)
        rows = ((key, read.row) for key, read in reads.items() if read.row is not None)
        return Rows(rows, min((read.head for read in reads.values()), default=floor))

    async def _all(self, futures: Sequence[asyncio.Future[_RowAtHead]]) -> list[_RowAtHead]:
        """The results of futures that other callers wait for too: a caller that is cancelled does not cancel them."""
        results = await asyncio.gather(*map(asyncio.shield, futures), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return [result for result in results if isinstance(result, _RowAtHead)]

    def _start(self, key: str) -> asyncio.Future[_RowAtHead]:
        future = self._futures[key] = self._reads.submit(key)
        future.add_done_callback(lambda _: self._keep(key, future))
        return future

    def _keep(self, key: str, future: asyncio.Future[_RowAtHead]) -> None:
        """Keep a result for reuse, or forget it at once."""
        succeeded = not future.cancelled() and future.exception() is None and not future.result().lags
        if succeeded and (key[0] in _STANDINGS or (key[0] in _CARDS and future.result().row is not None)):
            future.get_loop().call_later(REUSE_SECONDS, self._forget, key, future)
        else:
            self._forget(key, future)

    def _forget(self, key: str, future: asyncio.Future[_RowAtHead]) -> None:
        if self._futures.get(key) is future:
            del self._futures[key]

    async def head(self) -> DatabaseHead:
        """The newest revision. Raises Unavailable. For `Freshness`: it asks even while `up` is false."""
        floor = self._floor()
        (head,) = await self._probes.submit((_HEAD, {}))
        return DatabaseHead(head.revision, head.revision < floor, head.body != b"")

    async def since(self, revision: int, bound: int, *, upto: int) -> list[CardRow]:
        """The first `bound` cards that changed after `revision`, read from a database that stands at `upto` or later.

        Raises Unavailable, also where a replica answers that has not come so far. For `Freshness`.
        """
        rows = await self._probes.submit((_SINCE, {"revision": revision, "bound": bound + 1}))
        # With more rows than the bound, the head, which is the newest row, is not among them.
        if len(rows) <= bound and max((row.revision for row in rows), default=revision) < upto:
            raise Unavailable(_LAGS)
        return [row for row in rows if row.key != _HEAD_KEY][:bound]

    async def close(self) -> None:
        """Close every connection."""
        await self._reads.close()
        await self._probes.close()
        if self._engine is not None:
            await self._engine.dispose()

    async def _read_rows(self, keys: Sequence[str]) -> Sequence[_RowAtHead]:
        floor = self._floor()  # before the query: it may rise meanwhile
        rows = {row.key: row for row in await self._query(_KEYS, {"keys": [*keys, _HEAD_KEY]})}
        head = rows[_HEAD_KEY].revision
        return [_RowAtHead(rows.get(key), head, head < floor) for key in keys]

    async def _probe(self, statements: Sequence[tuple[TextClause, dict[str, Any]]]) -> Sequence[list[CardRow]]:
        return [await self._query(*statement) for statement in statements]

    async def _query(self, statement: TextClause, values: dict[str, Any]) -> list[CardRow]:
        if self._engine is None:
            raise Unavailable(_AWAY)
        self.queries += 1
        try:
            async with self._engine.connect() as connection:
                result = await connection.execute(statement, values)
                rows = [_row(row) for row in result]
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


def _row(row: Any) -> CardRow:
    return CardRow(row[0], int(row[1]), bytes(row[2]))


def _engine(url: str, limit: int, deadline: float) -> AsyncEngine:
    """Autocommit: a read of one statement needs no transaction."""
    return create_async_engine(
        url.replace("postgresql://", "postgresql+psycopg://", 1),
        pool_size=limit + 1,
        max_overflow=0,
        pool_timeout=deadline / 2,
        pool_pre_ping=False,
        isolation_level="AUTOCOMMIT",
        connect_args={
            "connect_timeout": 2,
            "options": postgres_session.options(statement_ms=int(deadline * 900), read_only=True),
        },
    )
