"""A scan service with every public verdict and every other page, for the tests and the gallery.

Four instances of the real application, on the real server class, in a thread: one healthy, one that lost both stores
after some scans, one whose rate limit refuses every address, one with an internal error.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec
import uvicorn
import uvloop
from redis import Redis
from sqlalchemy import Engine
from stdnum import ean

from scanweb.app import App, create
from scanweb.http.rate_limits import ScanRateLimits
from scanweb.scan.resolver import Resolution
from scanweb.server import Protocol
from scanweb.visits.visitors import Visitor
from tests.browser import goods
from tests.faults.proxy import Proxy
from tests.support import keyroom
from tests.support import scan_factories as make
from tests.support.patience import eventually
from tests.support.scan_factories import GTIN, OTHER_GTIN, ScanAuthority
from zpcode.embedded.servers import ServerAddresses
from zpcode.wire import card, redis_keys
from zpcode.wire.payload import Identity
from zpcode.wire.vocabulary import Bilingual, Scope, State

KEPT_GTIN: Final = "09501101530010"
HOSTILE_GTINS: Final = {
    name: f"095011020000{number}" + ean.calc_check_digit(f"095011020000{number}")
    for number, name in enumerate(goods.TEXTS)
}
LANGUAGES: Final = ("zh-CN", "en")
_ENDED: Final = card.RecognitionInfo("PZB-1", "certification", make.day(-800), make.day(-1))
_DECIDED: Final = (State.FLAGGED, State.SUSPENDED, State.REVOKED, State.RECALLED)
_FIRST: Final = 100
"""Items from this index on have decisions; items below have none."""
_RECALL: Final = Bilingual(
    "同批次部分茶壶壶柄粘接不牢，注入沸水时可能脱落。请停止使用，凭此页到原购买处退款。",
    "The handles of some pots of this lot may come off when filled with boiling water. Stop using it; the shop refunds it.",
)


@dataclass(frozen=True, slots=True)
class Scene:
    """A page to look at. `public` is the verdict's public name, or the name of a page without a verdict."""

    name: str
    public: str
    status: int = 200
    has_product: bool = True


SCENES: Final = (
    Scene("verified-first", "verified"),
    Scene("verified-again", "verified"),
    Scene("verified-lot", "verified"),
    Scene("verified-product", "verified"),
    Scene("verified-online", "verified"),
    Scene("verified-old-stock", "verified"),
    Scene("flagged", "flagged"),
    Scene("suspended", "suspended"),
    Scene("revoked", "revoked"),
    Scene("recalled", "recalled"),
    Scene("expired", "expired"),
    Scene("recognition-ended", "recognition_ended"),
    Scene("not-activated", "not_activated"),
    Scene("key-revoked", "key_revoked"),
    Scene("seal-missing", "seal_missing"),
    Scene("typed", "seal_missing"),
    Scene("unconfirmed", "unconfirmed"),
    Scene("unconfirmed-unknown", "unconfirmed", has_product=False),
    Scene("not-verified", "not_verified", 404, has_product=False),
    Scene("unreadable", "not_verified", 400, has_product=False),
    Scene("landing", "landing", has_product=False),
    Scene("nowhere", "error", 404, has_product=False),
    Scene("too-many", "error", 429, has_product=False),
    Scene("defect", "error", 500, has_product=False),
)
BY_NAME: Final = {scene.name: scene for scene in SCENES}


class _Exhausted(ScanRateLimits):
    """A rate limiter that refuses every address."""

    def check_guess(self, address: bytes, now: float) -> int:
        """Retry after half a minute."""
        del address, now
        return 30


class _Defect:
    """A resolver that raises an unexpected error."""

    async def scan(self, raw_path: bytes, visitor: Visitor, language: str) -> Resolution:
        """Fails."""
        del raw_path, visitor, language
        raise RuntimeError("a defect, for a test")


class RunningApps:
    """Applications behind real sockets of loopback, on one event loop in a thread."""

    def __init__(self) -> None:
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="stage")
        self._servers: list[tuple[uvicorn.Server, Any]] = []
        self._thread.start()

    def open(self, make_app: Callable[[str], App]) -> tuple[App, str]:
        """Serve the application that is made for an address; returns both."""
        listening = socket.create_server(("127.0.0.1", 0))
        base = f"http://127.0.0.1:{listening.getsockname()[1]}"
        app = make_app(base)
        configuration = uvicorn.Config(
            app, http=Protocol, log_config=None, access_log=False, proxy_headers=False, server_header=False, lifespan="on"
        )  # fmt: skip
        server = uvicorn.Server(configuration)
        self._servers.append((server, asyncio.run_coroutine_threadsafe(server.serve([listening]), self._loop)))
        eventually(lambda: server.started)
        return app, base

    def close(self) -> None:
        """Stop all servers."""
        for server, done in self._servers:
            server.should_exit = True
            done.result(20)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@dataclass
class Stage:
    """A running stage: the authority, and the addresses of the four services by name."""

    registry: ScanAuthority
    apps: dict[str, App]
    bases: dict[str, str]
    paths: dict[str, Callable[[], tuple[str, str]]] = field(default_factory=dict)

    def url(self, name: str, language: str = "zh-CN") -> str:
        """The address of a scene in a language. Every call for a first scan gives a code that was never scanned."""
        base, path = self.paths[name]()
        return f"{self.bases[base]}{path}{'&' if '?' in path else '?'}lang={language}"

    def get(self, name: str, language: str = "zh-CN", **headers: str) -> httpx.Response:
        """The response of a scene."""
        return httpx.get(self.url(name, language), headers=headers, timeout=20)

    def put(self, cards: dict[str, msgspec.Struct]) -> None:
        """Change cards of the authority; the next scan reads them."""
        self.registry.put(cards)


@contextmanager
def stage(addresses: ServerAddresses, engine: Engine, redis: Redis, home: Path) -> Iterator[Stage]:
    """The stage on running servers. `home` is an empty folder with a short path, because sockets lie in it."""
    room, lost = make.room_in(home)
    now = datetime.now(UTC)
    keyroom.retire(room, lost, now)
    key_id = keyroom.create(room, now)
    registry = ScanAuthority(engine, redis, room, key_id)
    registry.put(_cards(lost))
    registry.remember(0, 2, "杭州|Hangzhou", 13)
    redis.delete(redis_keys.history_complete(13))  # so that the database is read
    with ExitStack() as stack:
        apps = RunningApps()
        stack.callback(apps.close)
        proxies = [stack.enter_context(proxy) for proxy in _lines(addresses, home)]
        services = {
            "open": partial(_app, addresses, registry),
            "busy": partial(_busy, addresses, registry),
            "broken": partial(_broken, addresses, registry),
            "away": partial(_app, _by_way_of(addresses, home), registry),
        }
        opened = {name: apps.open(service) for name, service in services.items()}
        built = Stage(
            registry, {name: app for name, (app, _) in opened.items()}, {name: at for name, (_, at) in opened.items()}
        )
        built.paths.update(_paths(registry, ScanAuthority(engine, redis, room, lost)))
        _lose(built, proxies)
        yield built


def _app(addresses: ServerAddresses, registry: ScanAuthority, base: str) -> App:
    """A scan process behind a proxy that names the visitor, without rate limits."""
    return create(
        make.settings(
            addresses,
            registry.room,
            public_base=base,
            trusted_proxies="127.0.0.0/8",
            scans_per_minute=0,
            guesses_per_minute=0,
            authority_url="https://authority.example",
            security_contact="mailto:security@authority.example",
        )
    )


def _busy(addresses: ServerAddresses, registry: ScanAuthority, base: str) -> App:
    app = _app(addresses, registry, base)
    app.scan.rate_limits = _Exhausted(0, 0)
    return app


def _broken(addresses: ServerAddresses, registry: ScanAuthority, base: str) -> App:
    app = _app(addresses, registry, base)
    app.scan.resolver.scan = _Defect().scan  # type: ignore[method-assign]
    return app


def _lines(addresses: ServerAddresses, home: Path) -> Iterator[Proxy]:
    """Proxies to both stores that can be cut; their sockets are in `home`."""
    for target in (_database_socket(addresses), _redis_socket(addresses)):
        yield Proxy(target, home / target.name)


def _by_way_of(addresses: ServerAddresses, home: Path) -> ServerAddresses:
    """The addresses of the same servers through the proxies."""
    redis = _redis_socket(addresses)
    return replace(
        addresses,
        scan_database=f"{addresses.scan_database.rpartition('=')[0]}={home}",
        scan_redis=addresses.scan_redis.replace(str(redis), str(home / redis.name)),
    )


def _database_socket(addresses: ServerAddresses) -> Path:
    return Path(addresses.scan_database.rpartition("=")[2]) / ".s.PGSQL.5432"


def _redis_socket(addresses: ServerAddresses) -> Path:
    return Path(addresses.scan_redis.rpartition("@")[2])


def _lose(stage: Stage, proxies: list[Proxy]) -> None:
    """Scan one code on the service that will lose its stores, then cut its proxies for good."""
    httpx.get(stage.url("unconfirmed"), timeout=20)
    for proxy in proxies:
        proxy.lead_to(Path("/nonexistent"))
    eventually(lambda: not stage.apps["away"].health()["ready"])


def _cards(lost: str) -> dict[str, msgspec.Struct]:
    """The registry: three products, batches of every kind, and decisions about single items."""
    old = {"recognition": _ENDED}
    kept = {"recognition": msgspec.structs.replace(_ENDED, old_stock="valid")}
    by_key: dict[str, msgspec.Struct] = {
        card.product_key(GTIN): goods.rich(),
        card.product_key(OTHER_GTIN): goods.rich(OTHER_GTIN, **old),
        card.product_key(KEPT_GTIN): goods.rich(KEPT_GTIN, **kept),
        card.lot_key(GTIN, "L2026"): card.LotCard(GTIN, "L2026", make.day(-30), make.day(300), 1_700_000_000),
        card.batch_key(7): make.batch(exceptions=True, journey=goods.journey()),
        card.batch_key(8): make.batch(8, level="compact"),
        card.batch_key(9): make.batch(9, expiry_date=make.day(-3)),
        card.batch_key(10): make.batch(10, activated_at=0),
        card.batch_key(11): make.batch(11, gtin=OTHER_GTIN),
        card.batch_key(12): make.batch(12, gtin=KEPT_GTIN),
        card.batch_key(13): make.batch(13, journey=goods.journey()),
        make.s(Scope.KEY, lost): make.standing(State.REVOKED, reason="key-compromised"),
        card.notices_key(): goods.notices("BG-7"),
    }
    for number, state in enumerate(_DECIDED):
        by_key[card.item_key(7, _FIRST + number)] = make.standing(state)
    recall = make.standing(State.RECALLED, reason="safety-recall", note=_RECALL)
    by_key[card.item_key(7, _FIRST + _DECIDED.index(State.RECALLED))] = recall
    return by_key | _hostile_cards()


def _hostile_cards() -> dict[str, msgspec.Struct]:
    """A flagged product and a batch for each hostile text, and one with plain text to compare with."""
    by_key: dict[str, msgspec.Struct] = {}
    for number, (name, text) in enumerate(goods.TEXTS.items()):
        gtin = HOSTILE_GTINS[name]
        said = Bilingual(text, text)
        by_key[card.product_key(gtin)] = goods.hostile(text, gtin)
        by_key[card.batch_key(20 + number)] = make.batch(
            20 + number, gtin=gtin, journey=goods.filled(goods.journey(), text)
        )
        by_key[make.s(Scope.PRODUCT, gtin)] = make.standing(State.FLAGGED, notice=text, note=said, decided_by=said)
    return by_key


def _paths(registry: ScanAuthority, lost: ScanAuthority) -> dict[str, Callable[[], tuple[str, str]]]:
    """The service and the path of each scene."""
    fresh = itertools.count(200)

    def fixed(path: str, base: str = "open") -> Callable[[], tuple[str, str]]:
        return lambda: (base, path)

    def old(number: int, gtin: str) -> str:
        return registry.sealed(make.item_identity(0, number, gtin))

    good = registry.item()
    forged = "/" + good[1:40] + ("A" if good[40] != "A" else "B") + good[41:]
    decided = {state.value: fixed(registry.item(_FIRST + number)) for number, state in enumerate(_DECIDED)}
    hostile = {
        f"hostile-{name}": fixed(old(20 + number, gtin)) for number, (name, gtin) in enumerate(HOSTILE_GTINS.items())
    }
    return (
        decided
        | hostile
        | {
            "verified-first": lambda: ("open", registry.item(next(fresh))),
            "verified-again": fixed(registry.item(0, 13)),
            "verified-lot": fixed(registry.sealed(Identity(GTIN, lot="L2026"))),
            "verified-product": fixed(registry.sealed(Identity(GTIN))),
            "verified-online": fixed(make.compact_identity().path),
            "verified-old-stock": fixed(old(12, KEPT_GTIN)),
            "expired": fixed(registry.item(0, 9)),
            "recognition-ended": fixed(old(11, OTHER_GTIN)),
            "not-activated": fixed(registry.item(0, 10)),
            "key-revoked": fixed(lost.item()),
            "seal-missing": fixed(make.item_identity().path),
            "typed": fixed(f"/q?code={GTIN}"),
            "unconfirmed": fixed(good, "away"),
            "unconfirmed-unknown": fixed(old(11, OTHER_GTIN), "away"),
            "not-verified": fixed(forged),
            "unreadable": fixed("/01/123"),
            "landing": fixed("/"),
            "nowhere": fixed("/static/nothing.txt"),
            "too-many": fixed(make.item_identity().path, "busy"),
            "defect": fixed(good, "broken"),
        }
    )
