"""The state of the installation as one worker reads it, kept in memory and exposed to Prometheus.

Several workers read the same and expose the same: take the maximum of their values, never the sum. A part that has not
answered for ten seconds is exposed as down. After thirty seconds its values are left out, because they are not current.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from redis import Redis
from redis.exceptions import RedisError, ResponseError

from keys.client import SigningService
from zpcode.errors import SignerError, Text, Unavailable
from zpcode.projection.client import AnyRedis, layout
from zpcode.projection.comparison import ProjectionComparison
from zpcode.projection.head_keys import HeadKeys
from zpcode.services.continuity.gate import ContinuityGate
from zpcode.services.monitoring import metrics
from zpcode.services.monitoring.lag import Lag
from zpcode.services.monitoring.metrics import Stream
from zpcode.store import cards
from zpcode.store.database.session import Engine, transaction
from zpcode.store.monitoring import statistics
from zpcode.store.monitoring.statistics import Counts, Decisions
from zpcode.wire import redis_keys
from zpcode.wire.calendar import today
from zpcode.wire.card import REVISION_FIELD

PARTS: Final = ("database", "redis", "signer")
COUNT_SECONDS: Final = 15.0
UP_SECONDS: Final = 10.0
CURRENT_SECONDS: Final = 30.0
_REDIS_AWAY: Final = Text("缓存服务没有应答", "Redis does not answer")
_SIGNER_AWAY: Final = Text("签名服务没有应答", "the signer does not answer")


class InstallationStatistics(Collector):
    """Reads each part in a separate method. Each method has a separate loop, so a part that hangs does not delay the others.

    `signer` should give up after a second or two. `clock` gives monotonic seconds.
    """

    def __init__(
        self,
        engine: Engine,
        redis: AnyRedis,
        signer: SigningService,
        comparison: ProjectionComparison | None = None,
        gate: ContinuityGate | None = None,
        head_keys: HeadKeys | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine, self._redis, self._signer, self._comparison = engine, redis, signer, comparison
        self._gate, self._head_keys = gate, head_keys
        self._clock = clock
        self._answered: dict[str, float] = {}
        self._lag = Lag(clock)
        self._revisions: dict[str, float] = {}
        self._counted_at = -COUNT_SECONDS
        self._counts: Counts | None = None
        self._decisions = Decisions()
        self._stream = Stream()
        self._countersigned_at = 0
        self._began_at = time.time()

    def read_database(self) -> None:
        """Read the newest revision, and every 15 seconds everything else. Raises Unavailable."""
        now = self._clock()
        with transaction(self._engine) as connection:
            statistics.bound(connection)
            head = cards.head(connection)
            if now - self._counted_at >= COUNT_SECONDS:
                self._counts = statistics.counts(connection, months(today(datetime.now(UTC))))
                self._decisions = statistics.decisions(connection, self._decisions)
                self._counted_at = now
        self._revisions["database"] = head
        self._lag.leads(head)
        self._answered["database"] = self._clock()

    def read_redis(self) -> None:
        """Read the revision of the Redis server that is furthest behind, and the stream. Raises Unavailable."""
        try:
            shards = layout(self._redis)
            revision = min(_revision(shard.redis, shard.feed.head) for shard in shards.shards)
            holder = shards.of(redis_keys.SCANS)
            self._stream = Stream() if holder is None else stream(holder.redis)
        except RedisError as error:
            raise Unavailable(_REDIS_AWAY) from error
        self._revisions["redis"] = revision
        self._lag.follows(revision)
        self._answered["redis"] = self._clock()

    def read_signer(self) -> None:
        """Ask the signer for its active key, and when it last countersigned the audit log. Raises Unavailable."""
        try:
            self._signer.active_key()
            self._countersigned_at = self._signer.high_water().audit_at
        except SignerError as error:
            raise Unavailable(_SIGNER_AWAY) from error
        self._answered["signer"] = self._clock()

    def collect(self) -> Iterator[Metric]:
        """The metrics of what was read last. Asks no part."""
        yield metrics.of_parts({part: self._age(part) <= UP_SECONDS for part in PARTS})
        current = [part for part in ("database", "redis") if self._age(part) <= CURRENT_SECONDS]
        if current:
            yield metrics.of_revisions({part: self._revisions[part] for part in current})
            yield from metrics.of_lag(self._lag.steps, self._lag.seconds)
        if "database" in current:
            yield from metrics.of_decisions(self._decisions)
            if self._counts is not None:
                yield from metrics.of_counts(self._counts)
        if "redis" in current:
            yield from metrics.of_stream(self._stream)
        if self._gate is not None:
            yield metrics.of_continuity(self._gate.evidence)
            yield metrics.of_unproven_files(len(self._gate.unproven_files))
        if self._head_keys is not None:
            yield metrics.of_forged_heads(self._head_keys.forged)
        if self._counts is not None:
            yield metrics.of_countersignature(self._countersignature_age(self._counts))
        if self._comparison is not None:
            yield from metrics.of_comparison(self._comparison)

    def _countersignature_age(self, counts: Counts) -> float:
        """Seconds since the last countersignature, or since this process began; 0 for an empty log, which has no head."""
        return max(0.0, time.time() - (self._countersigned_at or self._began_at)) if counts.audit_entries else 0.0

    def _age(self, part: str) -> float:
        return self._clock() - self._answered.get(part, float("-inf"))


def months(day: date) -> tuple[date, date]:
    """The first days of this month and of the next."""
    first = day.replace(day=1)
    return first, (first + timedelta(days=32)).replace(day=1)


def stream(redis: Redis) -> Stream:
    """The inbox and the stream of scans on the server that holds them. Raises RedisError."""
    pipeline = redis.pipeline(transaction=True)  # in one transaction, because entries move from one to the other
    pipeline.llen(redis_keys.INBOX)
    pipeline.xinfo_stream(redis_keys.SCANS)
    pipeline.xinfo_groups(redis_keys.SCANS)
    waiting, about, groups = pipeline.execute(raise_on_error=False)
    if isinstance(waiting, ResponseError):  # it is no list
        waiting = 0
    if isinstance(about, ResponseError):  # there is no stream yet
        return Stream(waiting, waiting, waiting)
    names = {redis_keys.SCAN_GROUP, redis_keys.SCAN_GROUP.encode()}
    group: dict[str, Any] = next((group for group in groups if group["name"] in names), {})
    lag = group.get("lag")
    return Stream(
        length=waiting + about["length"],
        added=waiting + about["entries-added"],
        lag=waiting + (about["length"] if lag is None else lag),
        pending=group.get("pending", 0),
    )


def _revision(redis: Redis, head: str) -> int:
    """The revision in a shard's head; 0 if the shard has none."""
    revision: Any = redis.hget(head, REVISION_FIELD)
    return int(revision) if revision is not None and revision.isdigit() else 0
