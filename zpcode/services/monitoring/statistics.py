"""How the installation stands, as one worker sees it: looked at now and then, told to Prometheus from memory.

Several workers see the same and say the same: take the greatest of their values, never the sum. A part that has not
answered for half a minute is told as down, and what was last seen of it is left out rather than shown as current.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from redis import Redis
from redis.exceptions import RedisError, ResponseError

from keys.client import SigningService
from zpcode.errors import SignerError, Text, Unavailable
from zpcode.projection.client import AnyRedis, layout
from zpcode.projection.comparison import ProjectionComparison
from zpcode.services.monitoring import metrics
from zpcode.services.monitoring.lag import Lag
from zpcode.services.monitoring.metrics import Stream
from zpcode.store import cards
from zpcode.store.database.session import Engine, transaction
from zpcode.store.monitoring import statistics
from zpcode.store.monitoring.statistics import Counts, Decisions
from zpcode.telemetry.metrics import Measure
from zpcode.wire import redis_keys
from zpcode.wire.calendar import today
from zpcode.wire.card import REVISION_FIELD

PARTS: Final = ("database", "redis", "signer")
COUNT_SECONDS: Final = 15.0
UP_SECONDS: Final = 10.0
CURRENT_SECONDS: Final = 30.0
_AWAY: Final = Text("缓存服务没有应答", "Redis does not answer")
_SIGNER_AWAY: Final = Text("签名服务没有应答", "the signer does not answer")


class InstallationStatistics:
    """One look for each part, called by loops of their own so that a part that hangs hides no other.

    `signer` should give up after a second or two. `clock` gives monotonic seconds.
    """

    def __init__(
        self,
        engine: Engine,
        redis: AnyRedis,
        signer: SigningService,
        comparison: ProjectionComparison | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine, self._redis, self._signer, self._comparison = engine, redis, signer, comparison
        self._clock = clock
        self._answered: dict[str, float] = {}
        self._lag = Lag(clock)
        self._heads = (0, 0)
        self._counted_at = -COUNT_SECONDS
        self._counts: Counts | None = None
        self._decisions = Decisions()
        self._stream = Stream()

    def look_at_database(self) -> None:
        """The newest revision at each look, everything else every quarter of a minute. Raises Unavailable."""
        now = self._clock()
        with transaction(self._engine) as connection:
            statistics.bound(connection)
            head = cards.head(connection)
            if now - self._counted_at >= COUNT_SECONDS:
                self._counts = statistics.counts(connection, months(today(datetime.now(UTC))))
                self._decisions = statistics.decisions(connection, self._decisions)
                self._counted_at = now
        self._heads = head, self._heads[1]
        self._lag.leads(head)
        self._answered["database"] = self._clock()

    def look_at_redis(self) -> None:
        """How far the projection is on the server that is least far, and the stream. Raises Unavailable."""
        try:
            shards = layout(self._redis)
            revision = min(_revision(shard.redis, shard.feed.head) for shard in shards.shards)
            holder = shards.of(redis_keys.SCANS)
            self._stream = Stream() if holder is None else stream(holder.redis)
        except RedisError as error:
            raise Unavailable(_AWAY) from error
        self._heads = self._heads[0], revision
        self._lag.follows(revision)
        self._answered["redis"] = self._clock()

    def look_at_signer(self) -> None:
        """Whether it would sign. Raises Unavailable."""
        try:
            self._signer.active_key()
        except SignerError as error:
            raise Unavailable(_SIGNER_AWAY) from error
        self._answered["signer"] = self._clock()

    def measures(self) -> list[Measure]:
        """What Prometheus hears. Asks nobody."""
        found = [Measure(metrics.UP, int(self._age(part) <= UP_SECONDS), (part,)) for part in PARTS]
        if self._age("database") <= CURRENT_SECONDS:
            found += metrics.of_database(self._heads[0], self._counts, self._decisions)
        if self._age("redis") <= CURRENT_SECONDS:
            found += metrics.of_redis(self._heads[1], self._stream)
        if len(found) > len(PARTS):
            found += [
                Measure(metrics.LAG_REVISIONS, self._lag.steps),
                Measure(metrics.LAG_SECONDS, self._lag.seconds),
            ]
        return [*found, *metrics.of_comparison(self._comparison)]

    def _age(self, part: str) -> float:
        return self._clock() - self._answered.get(part, float("-inf"))


def months(day: date) -> tuple[date, date]:
    """The first days of this month and the next."""
    first = day.replace(day=1)
    return first, (first + timedelta(days=32)).replace(day=1)


def stream(redis: Redis) -> Stream:
    """The stream of scans on the server that holds it. Raises RedisError."""
    pipeline = redis.pipeline(transaction=True)  # at one moment: what is drained meanwhile must not look lost
    pipeline.get(redis_keys.DRAINED)
    pipeline.xinfo_stream(redis_keys.SCANS)
    pipeline.xinfo_groups(redis_keys.SCANS)
    drained, about, groups = pipeline.execute(raise_on_error=False)
    if isinstance(about, ResponseError):  # there is no stream yet
        return Stream(drained=0)
    named = {redis_keys.SCAN_GROUP, redis_keys.SCAN_GROUP.encode()}
    group: dict[str, Any] = next((found for found in groups if found["name"] in named), {})
    lag = group.get("lag")
    return Stream(
        length=about["length"],
        added=about["entries-added"],
        lag=about["length"] if lag is None else lag,
        pending=group.get("pending", 0),
        drained=None if drained is None else int(drained),
    )


def _revision(redis: Redis, head: str) -> int:
    found: Any = redis.hget(head, REVISION_FIELD)
    return int(found) if found is not None and found.isdigit() else 0
