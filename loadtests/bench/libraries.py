"""Our own code compared with the library that could replace it: the figures of docs/adr/0008.

    .venv/bin/python -m loadtests.bench.libraries

Both do the same work on the same servers. A round measures one after the other, and the order alternates from round to
round. What is measured is processor time of this process, so that other load on the machine hardly shows. `…_us` is the
median of the rounds in microseconds, `…_ratio` the median of (library ÷ ours) within each round: 3.0 means that the
library needs three times as much.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import msgspec
import uvloop
from babel.dates import format_date
from babel.numbers import format_decimal
from prometheus_client import CollectorRegistry, Counter, Histogram
from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster

from loadtests.bench.system import BenchSystem, running
from scanweb.app import App, create
from scanweb.metrics.meters import BOUNDS, ScanCounters
from scanweb.page import texts
from scanweb.page.html import ScanPages
from scanweb.page.slots import RenderedPieces
from scanweb.redis.client import RedisClient
from scanweb.redis.connection import Command
from scanweb.scan.resolver import Resolution
from scanweb.settings import ScanSettings
from scanweb.visits.visitors import Visitor
from zpcode.embedded.cluster import EmbeddedCluster
from zpcode.language.formats import Formats
from zpcode.projection import client, projector
from zpcode.telemetry import tracing

ROUNDS: Final = 15
TRIPS: Final = 400
CALLS: Final = 2000
PAGES: Final = 40
KEYS: Final = 25
"""Cards in one round trip: a loaded process sends the questions of 25 scans together."""
GZIP_LEVEL: Final = 6
LANGUAGE: Final = "zh-CN"
_BODY: Final = random.Random(8).randbytes(300)  # noqa: S311 - the same card every time

Figures = dict[str, float]


def library_figures() -> Figures:
    """All comparisons. Needs the embedded servers; takes about a minute."""
    with running(codes=50, scan_processes=0) as system:
        figures = uvloop.run(_redis(system)) | uvloop.run(_cluster(system)) | uvloop.run(_page(system))
    return figures | _formats() | _counters() | _spans()


# Redis --------------------------------------------------------------------------------------------------------


async def _redis(system: BenchSystem) -> Figures:
    """A pipelined round trip to one server: `scanweb.redis.connection` and redis-py's asyncio client, both on hiredis."""
    ours, library = RedisClient(system.addresses.redis, seconds=5), Redis.from_url(system.addresses.redis, protocol=2)
    await ours.execute([("SET", key, _BODY) for key in _keys()])
    try:
        return await _compared_async("connection", lambda: ours.execute(_trip()), lambda: _piped(library), TRIPS)
    finally:
        await ours.close()
        await library.aclose()


async def _cluster(system: BenchSystem) -> Figures:
    """The same to three primaries. Ours reads the head of every shard as well (ADR 6), redis-py's client does not."""
    with EmbeddedCluster(system.home / "cluster") as cluster:
        writer = client.connect(cluster.addresses.redis)
        projector.catch_up(system.engine, writer)
        writer.close()
        url = cluster.addresses.redis
        ours = RedisClient(url, seconds=5)
        library = RedisCluster.from_url(url.replace("redis+cluster", "redis").partition(",")[0], protocol=2)
        for key in _keys():
            await library.set(key, _BODY)
        try:
            return await _compared_async("cluster", lambda: ours.execute(_trip()), lambda: _piped(library), TRIPS)
        finally:
            await ours.close()
            await library.aclose()


def _keys() -> list[str]:
    return [f"zp:{{b:{900_000 + number}}}" for number in range(KEYS)]


def _trip() -> list[Command]:
    return [("GET", key) for key in _keys()]


async def _piped(library: Any) -> list[Any]:
    pipeline = library.pipeline(transaction=False) if isinstance(library, Redis) else library.pipeline()
    for key in _keys():
        pipeline.get(key)
    replies: list[Any] = await pipeline.execute()
    return replies


# The page -----------------------------------------------------------------------------------------------------


async def _page(system: BenchSystem) -> Figures:
    """A page with filled slots, and the same page rendered by Jinja for every scan; plain, and compressed."""
    app = create(_settings(system))
    await app.start()
    try:
        resolution = await _resolve(app, system.paths[0])
    finally:
        await app.stop()
    kept, rendering = (ScanPages(texts.load(), app.official) for _ in range(2))
    rendering._pieces = rendering._whole_pages = RenderedPieces(0)  # noqa: SLF001 - every template is rendered for every page

    def filled() -> bytes:
        page, values = kept.scan(resolution, LANGUAGE)
        return b"".join(page.plain(values))

    def rendered() -> bytes:
        page, values = rendering.scan(msgspec.structs.replace(resolution, pages=None), LANGUAGE)
        return b"".join(page.plain(values))

    def filled_gzip() -> list[bytes]:
        page, values = kept.scan(resolution, LANGUAGE)
        return page.gzipped(values)

    if filled() != rendered():
        raise SystemExit("the two pages differ")
    plain = _compared("page", filled, rendered, PAGES)
    return plain | _compared("page_gzip", filled_gzip, lambda: gzip.compress(rendered(), GZIP_LEVEL), PAGES)


def _settings(system: BenchSystem) -> ScanSettings:
    os.environ.update(system.environment)
    return ScanSettings()


async def _resolve(app: App, path: str) -> Resolution:
    return await app.scan.resolver.scan(path.encode(), Visitor("203.0.113.0/24", "browser", b"12345678"), LANGUAGE)


# Numbers, counters, spans -------------------------------------------------------------------------------------


def _formats() -> Figures:
    """A figure and a date of the page as `zpcode.language.formats` writes them, and as Babel does."""
    formats, figure, day = Formats("en"), Decimal("123456.70"), datetime.now(UTC).date()
    numbers = _compared("number", lambda: formats.number(figure), lambda: format_decimal(figure, locale="en_GB"), CALLS)
    return numbers | _compared(
        "date", lambda: formats.date(day), lambda: format_date(day, "long", locale="en_GB"), CALLS
    )


def _counters() -> Figures:
    """The counters of one scan: plain integers, and a Counter with a label and a Histogram of prometheus_client."""
    plain, registry = ScanCounters(), CollectorRegistry()
    answers = Counter("answers_total", "Answers.", ("verdict",), registry=registry)
    seconds = Histogram("answer_seconds", "Times.", buckets=BOUNDS, registry=registry)

    def library() -> None:
        answers.labels("verified").inc()
        seconds.observe(0.004)

    return _compared("counters", lambda: plain.answered("verified", 0.004), library, CALLS)


def _spans() -> Figures:
    """Nothing around a scan without tracing, and the no-op span of OpenTelemetry's API around it."""

    def nothing() -> None:
        pass

    def library() -> None:
        with tracing.span(tracing.OFF, "scan") as span:
            span.set_attributes({"method": "GET", "status": 200})

    return _compared("no_op_span", nothing, library, CALLS)


# Comparing ----------------------------------------------------------------------------------------------------


def _compared(name: str, ours: Callable[[], object], library: Callable[[], object], calls: int) -> Figures:
    def timed(call: Callable[[], object]) -> float:
        began = time.process_time()
        for _ in range(calls):
            call()
        return (time.process_time() - began) / calls

    rounds = []
    for number in range(ROUNDS):
        if number % 2:
            rounds.append((timed(ours), timed(library)))
        else:
            rounds.append((timed(library), timed(ours))[::-1])
    return _figures(name, rounds)


async def _compared_async(
    name: str, ours: Callable[[], Awaitable[object]], library: Callable[[], Awaitable[object]], calls: int
) -> Figures:
    async def timed(call: Callable[[], Awaitable[object]]) -> float:
        began = time.process_time()
        for _ in range(calls):
            await call()
        return (time.process_time() - began) / calls

    rounds = []
    for number in range(ROUNDS):
        if number % 2:
            rounds.append((await timed(ours), await timed(library)))
        else:
            rounds.append((await timed(library), await timed(ours))[::-1])
    return _figures(name, rounds)


def _figures(name: str, rounds: list[tuple[float, float]]) -> Figures:
    return {
        f"{name}_ours_us": round(statistics.median(ours for ours, _ in rounds) * 1e6, 2),
        f"{name}_library_us": round(statistics.median(library for _, library in rounds) * 1e6, 2),
        f"{name}_ratio": round(statistics.median(library / ours for ours, library in rounds), 1),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(library_figures(), indent=2) + "\n")
