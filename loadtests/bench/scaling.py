"""What one scan costs each server behind the scan service: the figures that docs/scaling.md calculates with.

    .venv/bin/python -m loadtests.bench.scaling

Valkey's figures are the processor time (`INFO cpu`) and the bytes read and written that it reports for the commands of a
scan process, so other load on the machine has little influence. PostgreSQL's figures are the sizes it reports, and rows
per second of real time, with the default settings of the embedded server and every commit written to disk.
"""

from __future__ import annotations

import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from redis import Redis
from sqlalchemy import Engine, text

from scanweb.lookup import history
from scanweb.lookup.history import ItemQuery
from scanweb.lookup.redis_reader import HEAD
from zpcode.embedded.cluster import EmbeddedCluster
from zpcode.embedded.servers import Servers
from zpcode.projection import client, library, projector
from zpcode.services import scans
from zpcode.store import cards
from zpcode.store.database.session import connect, migrate_embedded, transaction
from zpcode.wire import redis_keys
from zpcode.wire.scan_event import ScanEvent, encode

ROWS = 200_000
TRIPS = 2000
TOGETHER = 32
"""Scans in one round trip and in one stream entry: half of the 64 that a loaded process sends together."""
CARDS = 20_000
_BATCH = 7
_GTIN = "09501101530003"
_DICE = random.Random(3)  # noqa: S311 - the same scans every time


def scaling_figures() -> dict[str, float]:
    """All figures; docs/scaling.md explains the names."""
    with tempfile.TemporaryDirectory(prefix="zpcode-bench-") as folder:
        home = Path(folder)
        home.chmod(0o711)
        with Servers(home) as servers, _engine(servers) as engine:
            redis = Redis.from_url(servers.addresses.admin_redis, protocol=2)
            figures = (
                _stream_and_tables(engine, redis, servers.processes.pid("postgres"))
                | _projection(engine, redis)
                | _valkey_costs(redis)
            )
            redis.close()
        with EmbeddedCluster(home / "cluster", replicas=1) as cluster:
            figures |= _cluster_costs(cluster, home)
    return figures


@contextmanager
def _engine(servers: Servers) -> Iterator[Engine]:
    migrate_embedded(servers.addresses)
    engine = connect(servers.addresses.database, pool_size=2)
    scans.ensure_partitions(engine, datetime.now(UTC).date())
    yield engine
    engine.dispose()


def _event(number: int) -> ScanEvent:
    """A scan of a phone in Hangzhou. Some items are scanned several times."""
    return ScanEvent(
        at_ms=int(time.time() * 1000), gtin=_GTIN, lot="", batch=_BATCH, index=_DICE.randrange(4 * ROWS),
        verdict="verified", city="杭州|Hangzhou", network=f"203.0.{number % 256}.0/24", visitor=_DICE.randbytes(8),
        language="zh-CN", channel="wechat", counted=True,
    )  # fmt: skip


# The stream, and PostgreSQL behind it -------------------------------------------------------------------------


def _stream_and_tables(engine: Engine, redis: Any, postgres: int) -> dict[str, float]:
    """Scans in the stream, and as rows in the tables. `postgres` is the server's process id."""
    for start in range(0, ROWS, TOGETHER):
        redis.rpush(redis_keys.INBOX, encode([_event(start + step) for step in range(TOGETHER)]))
    waiting = redis.memory_usage(redis_keys.INBOX, samples=0)
    log, began, own, server = (
        _log_position(engine),
        time.perf_counter(),
        time.process_time(),
        _processor_seconds(postgres),
    )
    while scans.drain(engine, redis, consumer="bench"):
        pass
    seconds = time.perf_counter() - began
    own, server = time.process_time() - own, _processor_seconds(postgres) - server
    rows = _one(engine, "SELECT count(*) FROM scan")
    partition = f"scan_{datetime.now(UTC):%Y_%m}"
    histories = _one(engine, "SELECT count(*) FROM item_history")
    return {
        "redis_bytes_per_waiting_scan": round(waiting / ROWS, 1),
        "drain_rows_per_s": round(rows / seconds),
        "worker_us_per_scan": round(own / rows * 1e6, 1),
        "postgres_us_per_scan": round(server / rows * 1e6, 1),
        "postgres_bytes_per_scan": round(_one(engine, f"SELECT pg_total_relation_size('{partition}')") / rows, 1),
        "postgres_bytes_per_scanned_code": round(
            _one(engine, "SELECT pg_total_relation_size('item_history')") / histories, 1
        ),
        "postgres_log_bytes_per_scan": round((_log_position(engine) - log) / rows, 1),
    }


def _processor_seconds(server: int) -> float:
    """Seconds of processor time of a server and its children so far."""
    seconds = 0.0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = path.read_text("ascii", "replace").rpartition(")")[2].split()
        except OSError:
            continue  # the process has ended
        if server in {int(path.parent.name), int(words[1])}:
            seconds += (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
    return seconds


def _log_position(engine: Engine) -> int:
    return _one(engine, "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint")


def _one(engine: Engine, query: str) -> int:
    with engine.connect() as connection:
        return int(connection.execute(text(query)).scalar_one())


# The projection -----------------------------------------------------------------------------------------------


def _projection(engine: Engine, redis: Any) -> dict[str, float]:
    """How fast cards of 3 KB are copied into an empty Redis, and their size there and in the table."""
    body = _DICE.randbytes(3000)
    with transaction(engine) as connection:
        cards.put_cards(connection, {f"p:{number:014d}": body for number in range(CARDS)})
    began = time.perf_counter()
    projector.catch_up(engine, client.connect(_url(redis), seconds=5))
    return {
        "cards_copied_per_s": round(CARDS / (time.perf_counter() - began)),
        "redis_bytes_per_product": redis.memory_usage(redis_keys.location(f"p:{1:014d}")[0]),
        "postgres_bytes_per_product_card": round(_one(engine, "SELECT pg_total_relation_size('card')") / CARDS, 1),
    }


def _url(redis: Redis) -> str:
    options = redis.connection_pool.connection_kwargs
    return f"unix://{options['username']}:{options['password']}@{options['path']}"


# Valkey's own time --------------------------------------------------------------------------------------------


def _valkey_costs(redis: Any) -> dict[str, float]:
    """Processor time and traffic of a round trip of 32 scans: with one script call, and with one call for each scan."""
    redis.set(f"zp:{{b:{_BATCH}}}", b"card")
    redis.set(redis_keys.history_complete(_BATCH), 1)
    library.provide(redis, ())
    trips = [[_query(_DICE.randrange(10**6)) for _ in range(TOGETHER)] for _ in range(TRIPS)]
    together, traffic = _cost(redis, [[history.command(trip, evicting=False)] for trip in trips])
    apart, _ = _cost(redis, [[history.command([query], evicting=False) for query in trip] for trip in trips])
    return {
        "valkey_us_per_scan": round(together, 2),
        "valkey_us_per_scan_one_by_one": round(apart, 2),
        "valkey_bytes_per_scan": round(traffic),
    }


def _query(index: int) -> ItemQuery:
    return ItemQuery(_BATCH, index, int(time.time()), _DICE.randbytes(4), "杭州|Hangzhou", own=False)


def _cost(redis: Any, calls: list[list[tuple[str | int | bytes, ...]]]) -> tuple[float, float]:
    """Microseconds of processor time, and bytes in and out, for each scan. Includes the stream entry of each round trip."""
    entry = encode([_event(number) for number in range(TOGETHER)])
    before = redis.info()
    for scripts in calls:
        pipeline = redis.pipeline(transaction=False)
        for command in (HEAD, *scripts, ("RPUSH", redis_keys.INBOX, entry)):
            pipeline.execute_command(*command)
        pipeline.execute()
    after = redis.info()

    def growth(*names: str) -> float:
        return float(sum(after[name] - before[name] for name in names)) / (TRIPS * TOGETHER)

    return growth("used_cpu_user", "used_cpu_sys") * 1e6, growth("total_net_input_bytes", "total_net_output_bytes")


# A cluster ----------------------------------------------------------------------------------------------------


def _cluster_costs(cluster: EmbeddedCluster, home: Path) -> dict[str, float]:
    """Time until a change is on three shards, and the time that waiting for their replicas would add."""
    with Servers(home) as servers, _engine(servers) as engine:
        redis = client.connect(cluster.addresses.redis)
        projector.catch_up(engine, redis)
        took, waited = [], []
        for number in range(200):
            with transaction(engine) as connection:
                cards.put_cards(connection, {"p:1": f"card {number}".encode()})
            began = time.perf_counter()
            projector.catch_up(engine, redis)
            done = time.perf_counter()
            for shard in client.layout(redis).shards:
                shard.redis.execute_command("WAIT", 1, 100)  # type: ignore[no-untyped-call]
            took.append(done - began)
            waited.append(time.perf_counter() - done)
        redis.close()
    return {"cluster_change_ms_p50": _p50(took), "cluster_wait_for_replicas_ms_p50": _p50(waited)}


def _p50(seconds: list[float]) -> float:
    return round(sorted(seconds)[len(seconds) // 2] * 1000, 2)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(scaling_figures(), indent=2) + "\n")
