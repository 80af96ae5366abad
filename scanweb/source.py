"""The database as a scan sees it: one view, by key. Asked where Redis misses, cannot answer or is not believed.

The only module of the scan service with SQL in it. The view `scan_view(key, revision, body)` holds the
cards, histories (`h:NUMBER:INDEX`, body a JSON array) and one row `head` with the newest revision.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import TextClause, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from scanweb.gather import Gather
from scanweb.memory import Row
from zpcode.errors import Text, Unavailable

_LOG = logging.getLogger(__name__)
_AWAY = Text("数据库没有应答", "the database does not answer")
_KEYS: Final = text("SELECT key, revision, body FROM scan_view WHERE key = ANY(:keys)")
_HEAD: Final = text("SELECT revision FROM scan_view WHERE key = 'head'")
_SINCE: Final = text(
    "SELECT key, revision, body FROM scan_view WHERE revision > :revision AND key <> 'head' ORDER BY revision LIMIT :bound"
)

FAILURES = 3
GRACE = 2.5
"""A late query is left to end by itself, by the server's own limits, for so long: breaking off a connection that is
just being made would leave it open at the server's end."""
_AT_ONCE = 200


class Source:
    """The view, asked in shared queries. `queries` counts them.

    At most `limit` queries run at once, and nobody waits for one longer than `deadline` seconds. After three
    failures in a row nobody but the watch asks, until it has had an answer.
    """

    def __init__(self, url: str, *, limit: int, deadline: float) -> None:
        self.queries = 0
        self._failures = 0 if url else FAILURES
        self.deadline = deadline
        self._engine = _engine(url, limit, deadline) if url else None
        self._gather: Gather[str, Row | None] = Gather(
            self._trip, limit=limit, size=_AT_ONCE, deadline=deadline, grace=GRACE
        )
        self._probes: Gather[tuple[TextClause, dict[str, Any]], list[Row]] = Gather(
            self._probe, limit=1, size=1, deadline=deadline, grace=GRACE
        )
        self._flights: dict[str, asyncio.Future[Row | None]] = {}

    @property
    def up(self) -> bool:
        """Whether it is worth asking."""
        return self._failures < FAILURES

    async def read(self, keys: Sequence[str]) -> dict[str, Row]:
        """The rows under these keys, those that exist. Raises Unavailable.

        A key that is being read already is not read twice.
        """
        if not self.up:
            raise Unavailable(_AWAY)
        rows = await asyncio.gather(*map(self._flight, keys), return_exceptions=True)
        for row in rows:
            if isinstance(row, BaseException):
                raise row
        return {row.key: row for row in rows if isinstance(row, Row)}

    def _flight(self, key: str) -> asyncio.Future[Row | None]:
        flight = self._flights.get(key)
        if flight is None:
            flight = self._gather.ask(key)
            self._flights[key] = flight
            flight.add_done_callback(lambda _: self._flights.pop(key, None))
        return asyncio.shield(flight)  # whoever goes away does not take the answer from the others

    async def head(self) -> int:
        """The newest revision. Raises Unavailable. For the watch: asked even when all others may not."""
        rows = await self._probes.ask((_HEAD, {}))
        return rows[0].revision

    async def since(self, revision: int, bound: int) -> list[Row]:
        """The first `bound` cards that changed after `revision`. Raises Unavailable. For the watch."""
        return await self._probes.ask((_SINCE, {"revision": revision, "bound": bound}))

    async def close(self) -> None:
        """Close every connection."""
        await self._gather.close()
        await self._probes.close()
        if self._engine is not None:
            await self._engine.dispose()

    async def _trip(self, keys: Sequence[str]) -> Sequence[Row | None]:
        rows = {row.key: row for row in await self._query(_KEYS, {"keys": list(keys)})}
        return [rows.get(key) for key in keys]

    async def _probe(self, questions: Sequence[tuple[TextClause, dict[str, Any]]]) -> Sequence[list[Row]]:
        return [await self._query(*question) for question in questions]

    async def _query(self, statement: TextClause, values: dict[str, Any]) -> list[Row]:
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


def _row(row: Any) -> Row:
    return Row("head", int(row[0]), b"") if len(row) == 1 else Row(row[0], int(row[1]), bytes(row[2]))


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
