"""Assembles one scan process: `uvicorn --factory --no-proxy-headers --http scanweb.server:Protocol scanweb.app:create_app`."""

from __future__ import annotations

import asyncio
import gc
import time
from datetime import UTC, datetime
from typing import Any

from keys.keyring import KeyringFile, read_root
from scanweb.http import pictures, site
from scanweb.http.exchange import Receive, Scope, Send
from scanweb.http.pictures import PictureFiles
from scanweb.http.rate_limits import ScanRateLimits
from scanweb.http.scan_route import ScanRoute
from scanweb.http.tracing import traced
from scanweb.lookup.database import Database
from scanweb.lookup.freshness import Freshness
from scanweb.lookup.lookup import Lookup
from scanweb.lookup.memory import Memory
from scanweb.lookup.notices import Notices
from scanweb.lookup.redis_reader import RedisReader
from scanweb.lookup.seals import Seals
from scanweb.metrics.collector import ScanCollector
from scanweb.metrics.loop_lag import LoopLag
from scanweb.page import texts
from scanweb.page.html import ScanPages
from scanweb.page.identity import SiteIdentity
from scanweb.page.json import JsonBodies
from scanweb.redis.client import RedisClient
from scanweb.scan.resolver import Resolver
from scanweb.settings import ScanSettings, load
from scanweb.visits.buffer import ScanBuffer
from scanweb.visits.geoip import GeoIP
from scanweb.visits.visitors import ClientAddresses, Salts
from zpcode.telemetry import exposition, logs, metrics, tracing
from zpcode.telemetry.exposition import Exposition


class App:
    """The ASGI application. Its parts are public, for tests and measurements.

    Raises KeyringError where the keyring cannot be trusted: without it no seal can be verified.
    """

    def __init__(self, settings: ScanSettings) -> None:
        self.settings = settings
        root = read_root(settings.root_path)
        self.official = SiteIdentity.of(settings.public_base, root)
        self.keyring = KeyringFile(settings.keyring_path, root, time.monotonic)
        self.memory = Memory(settings.scan_cards)
        self.database = Database(
            settings.scan_database_url,
            limit=settings.scan_queries,
            deadline=settings.scan_database_ms / 1000,
            floor=lambda: self.memory.floor,
        )
        self.salts = Salts(time.time)
        self.buffer = ScanBuffer(settings.scan_buffer)
        self.freshness = Freshness(self.memory, self.database, self.salts)
        self.redis = RedisClient(settings.redis, seconds=settings.scan_redis_ms / 1000)
        self.redis_reader = RedisReader(
            self.redis,
            self.memory,
            self.buffer,
            wake=self.freshness.wake,
            limit=settings.scan_pipelines,
            inbox=settings.scan_stream_length,
        )
        self.notices = Notices(self.memory, self.redis_reader, self.database, lambda: self.freshness.state != "nowhere")
        self.geoip = GeoIP(settings.geoip_database)
        self.scan = self._scan_route()
        self.meters = self.scan.meters
        self.tracing = tracing.start("scan", settings.traces, settings.trace_ratio)
        self.scan_app = traced(self.scan, self.tracing.tracer)
        self.site = site.create(
            self.scan,
            self.keyring,
            lambda: self.ready,
            self.notices.current,
            settings.security_contact,
            settings.public_base,
        )
        self.pictures = PictureFiles(settings.pictures_url, self.site)
        self.loop_lag = LoopLag(lambda: self.freshness.comparisons)
        self.collector = ScanCollector(self.health, self.meters, self.loop_lag, settings.scan_stream_length)
        self.exposition = self._exposition()

    def _exposition(self) -> Exposition:
        pages = {
            exposition.METRICS: exposition.of_metrics(metrics.registry("scan", self.collector)),
            exposition.READYZ: exposition.of_state(self.collector.readiness),
        }
        return Exposition(self.settings.metrics_address, pages)

    def _scan_route(self) -> ScanRoute:
        words = texts.load()
        lookup = Lookup(self.memory, self.redis_reader, self.database)
        resolver = Resolver(Seals(self.keyring), lookup, self.geoip, clock=time.time, record=self.redis_reader.record)
        return ScanRoute(
            resolver,
            ScanPages(words, self.official, self.settings.authority_url),
            JsonBodies(words),
            addresses=ClientAddresses(self.settings.trusted_proxies),
            salts=self.salts,
            rate_limits=ScanRateLimits(
                self.settings.scans_per_minute, self.settings.guesses_per_minute, self.settings.scans_recorded_per_day
            ),
            clock=time.time,
            floor=self.settings.refusal_floor_ms / 1000,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection."""
        if scope["type"] == "http":
            path = scope["path"]
            picture = path.startswith(pictures.FOLDER)
            plain = picture or path in site.PATHS or path.startswith(site.FOLDER)
            if not plain:
                await self.scan_app(scope, receive, send)
            elif path in site.ALWAYS or not await self.scan.refuse_over_limit(scope, send):
                await (self.pictures if picture else self.site)(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        await self.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def start(self) -> None:
        """Compare Redis with the database, read the notices, and start the background tasks."""
        await self.freshness.start(self.redis_reader)
        await self.notices.start()
        self.loop_lag.start()
        self.collector.start()
        self.exposition.start()

    async def stop(self) -> None:
        """Send the scans that wait, end the background tasks and close every connection."""
        self.exposition.stop()
        self.loop_lag.stop()
        await self.notices.stop()
        await self.freshness.stop()
        await self.scan.resolver.lookup.close()
        await self.redis_reader.close()
        await self.database.close()
        self.geoip.close()
        await asyncio.to_thread(self.tracing.close)
        await asyncio.sleep(0)

    @property
    def ready(self) -> bool:
        """Whether the process can confirm the status of a code."""
        return self.freshness.state != "nowhere" and self.loop_lag.rounds_grow

    def health(self) -> dict[str, Any]:
        """The body of /readyz on the private port."""
        keyring = self.keyring.current()
        signing = keyring.key_for_new_batch(datetime.now(UTC))
        return {
            "ready": self.ready,
            "answers_from": self.freshness.state,
            "redis": "up" if self.memory.believed else "not believed",
            "database": "up" if self.database.up else "down",
            "looks": self.freshness.comparisons,  # the name that readers of /readyz know
            "keyring": {
                "serial": keyring.serial,
                "issued": keyring.issued.timestamp(),
                "signs_until": 0.0 if signing is None else signing.record.not_after.timestamp(),
                "problem": self.keyring.problem is not None,
            },
            "projection": {"generation": self.memory.generation, "revision": self.memory.revision},
            "cards_in_memory": len(self.memory),
            "scans": {"waiting": len(self.buffer), "sent": self.buffer.sent, "dropped": self.buffer.dropped},
            "redis_round_trips": self.redis.trips,
            "database_queries": self.database.queries,
            "database_joined": self.database.joined,
        }


def _collect_seldom() -> None:
    """Exclude all objects made so far from garbage collection, and collect once in 20 000 new objects (default: 700).

    A scan makes some twenty tracked objects and leaves none behind.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)


def create(settings: ScanSettings) -> App:
    """A scan process from its settings."""
    return App(settings)


def create_app() -> App:
    """A scan process from the environment, logging JSON lines to standard error."""
    settings = load()
    logs.configure("scan", level=settings.log_level)
    app = create(settings)
    _collect_seldom()
    return app
