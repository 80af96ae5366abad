"""Factories of the scan service's tests: cards, codes under a test key, and a running service.

`ScanAuthority` acts as the authority: it writes cards and projects them with the real projection. `ScanService` is
the real application on a real event loop in a thread, asked over ASGI.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, cast

import httpx
import msgspec
import pytest
from redis import Redis
from sqlalchemy import Engine, TextClause, text

from keys.ceremony import KeyRoom
from scanweb.app import App, create
from scanweb.lookup.memory import CardRow
from scanweb.settings import ScanSettings
from tests.support import keyroom
from tests.support.scanned_batches import may_be_scanned
from zpcode.embedded.servers import ServerAddresses
from zpcode.projection import projector, salts
from zpcode.store import cards as outbox
from zpcode.store.database.session import transaction
from zpcode.wire import card, payload, redis_keys, scan_event
from zpcode.wire.card import Standing, Timeline
from zpcode.wire.permutation import Permutation
from zpcode.wire.vocabulary import Bilingual, Scope, State

T = TypeVar("T")
GTIN = "09501101530003"
OTHER_GTIN = "09501101020917"
KEY = bytes(range(16))
CHECK = bytes(range(16, 32))
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Version/18.0 Mobile Safari/604.1"
WECHAT = IPHONE + " MicroMessenger/8.0.50(0x1800) NetType/WIFI Language/zh_CN"
AUTHORITY = Bilingual("杭州市市场监督管理局", "Hangzhou Administration for Market Regulation")


def day(offset: int) -> str:
    """A date some days from today, in Shanghai."""
    return (datetime.now(UTC) + timedelta(hours=8, days=offset)).date().isoformat()


def product(gtin: str = GTIN, **changes: Any) -> card.ProductCard:
    """A product with all four blocks, recognised since last year and for another."""
    base = card.ProductCard(
        gtin=gtin,
        name=Bilingual("龙泉青瓷茶具", "Longquan celadon tea set"),
        brand="清溪",
        model="QX-8",
        category=Bilingual("日用陶瓷", "household ceramics"),
        tier="zhejiang_premium",
        enterprise=card.EnterpriseInfo(
            uscc="91331181MA2E4K7R0X",
            name=Bilingual("龙泉清溪青瓷有限公司", "Longquan Qingxi Celadon Co."),
            region="331181",
            region_name=Bilingual("浙江省丽水市龙泉市", "Longquan, Lishui, Zhejiang"),
            industry_name=Bilingual("陶瓷制品制造", "ceramics"),
            address=Bilingual("剑池街道1号", "1 Jianchi Street"),
            phone="0578-7000000",
            website="https://qingxi.example",
            story=Bilingual("三代人守着一座龙窑。", "Three generations around one dragon kiln."),
        ),
        recognition=card.RecognitionInfo(
            number="PZB-2025-0101", path="certification", valid_from=day(-400), valid_to=day(400), certificate="ZM-0001"
        ),
        standards=(
            card.StandardInfo("T/ZZB 0664-2018", Bilingual("青瓷茶具", "Celadon tea sets"), registration="ZZB T0664-2018"),
        ),
        certificates=(
            card.CertificateInfo(
                "ZM-0001", "zhejiang_made", Bilingual("浙江测试认证", "Zhejiang Test Certification"), rule="R-1",
                valid_from=day(-400), valid_to=day(400),
            ),
            card.CertificateInfo("GR-0002", "green", Bilingual("绿色认证", "Green Certification"), accepted=True),
        ),
        indicators=(
            card.IndicatorInfo(
                Bilingual("吸水率", "Water absorption"), "le", Bilingual("0.2", "0.2"), Bilingual("0.3", "0.3"),
                Bilingual("0.5", "0.5"), Bilingual("0.4", "0.4"), unit="%", method="GB/T 3299", report="BG-2025-17",
            ),
            card.IndicatorInfo(
                Bilingual("热稳定性", "Thermal shock"), "ge", Bilingual("200", "200"), Bilingual("180", "180"), unit="K"
            ),
        ),
        commitments=(
            card.CommitmentInfo("first_responsibility", Bilingual("先行赔付", "We pay first")),
            card.CommitmentInfo(
                "insurance", Bilingual("产品责任险", "Product liability"), insurer=Bilingual("某保险", "An Insurer"), policy="P-9",
            ),
            card.CommitmentInfo("hotline", Bilingual("全天服务", "Day and night"), phone="400-000-0000"),
        ),
        claims=(
            card.ClaimInfo(
                "carbon_footprint", Bilingual("单件碳足迹", "Footprint per piece"), value="1.2", unit="kg CO2e", evidence="CF-77",
                evidence_url="https://evidence.example/77",
            ),
        ),
    )  # fmt: skip
    return msgspec.structs.replace(base, **changes)


def batch(number: int = 7, *, level: str = "item", **changes: Any) -> card.BatchCard:
    """An activated batch of a thousand."""
    base = card.BatchCard(
        number, GTIN, level, 1000, KEY, CHECK if level == "compact" else b"", lot="L2026", production_date=day(-30),
        activated_at=1_700_000_000,
    )  # fmt: skip
    return msgspec.structs.replace(base, **changes)


def standing(state: State, *, reason: str = "sample-test-failed", since: int = -60, **changes: Any) -> Timeline:
    """One decision, in effect for a minute."""
    base = Standing(
        state, int(time.time()) + since, reason, notice="浙市监公告2026-8", note=Bilingual("请停止使用", "Stop using it"),
        decided_by=AUTHORITY,
    )  # fmt: skip
    return Timeline((msgspec.structs.replace(base, **changes),))


def ranged(first: int, last: int, state: State) -> card.RangeLayer:
    """The layer of a city with one decision about a range, in effect for a minute."""
    one = standing(state).standings[0]
    text = msgspec.structs.replace(one, effective_at=0)
    return card.RangeLayer("city", (text,), (card.RangeEntry(first, last, 0, one.effective_at),))


def item_identity(index: int = 0, number: int = 7, gtin: str = GTIN) -> payload.Identity:
    """The item of that index in the factory's batches."""
    return payload.Identity(gtin, serial=payload.Serial(number, Permutation(KEY).slot(index)))


def compact_identity(index: int = 0, number: int = 8, *, wrong: bool = False) -> payload.Identity:
    """A compact item with its check, or with a wrong one."""
    serial = payload.Serial(number, Permutation(KEY).slot(index))
    check = payload.check_of(CHECK, GTIN, serial) ^ (1 if wrong else 0)
    return payload.Identity(GTIN, serial=serial, check=check)


def s(scope: Scope, target: str) -> str:
    """The key of a registry record's timeline."""
    return card.standing_key(scope, target)


class ScanAuthority:
    """The part of the authority that a scan reads: cards in the table and their projection in Redis."""

    def __init__(self, engine: Engine, redis: Redis, room: KeyRoom, key_id: str) -> None:
        self.engine, self.redis, self.room, self.key_id = engine, redis, room, key_id
        self._sealed: dict[str, str] = {}

    def commit(self, cards: Mapping[str, msgspec.Struct]) -> int:
        """Write cards into the table only: a commit that is not projected yet."""
        with transaction(self.engine) as connection:
            return outbox.put_cards(connection, {key: msgspec.msgpack.encode(body) for key, body in cards.items()})

    def put(self, cards: Mapping[str, msgspec.Struct]) -> None:
        """Write cards into the table and project them into Redis."""
        self.commit(cards)
        self.project()

    def project(self) -> None:
        """Bring Redis up to the table, and make the salts, as the worker does."""
        projector.catch_up(self.engine, self.redis)
        salts.provide(self.redis, time.time(), secrets.token_bytes)

    def everything(self) -> None:
        """A product with an item batch, a compact batch and a lot. Scans of the batches count."""
        may_be_scanned(self.engine, [7, 8])
        self.put(
            {
                card.product_key(GTIN): product(),
                card.batch_key(7): batch(),
                card.batch_key(8): batch(8, level="compact"),
                card.lot_key(GTIN, "L2026"): card.LotCard(GTIN, "L2026", day(-30), day(300), 1_700_000_000),
            }
        )

    def sealed(self, identity: payload.Identity) -> str:
        """The path of a code under the room's key."""
        if identity.path not in self._sealed:
            self._sealed[identity.path] = keyroom.seal(self.room, self.key_id, identity).path
        return self._sealed[identity.path]

    def item(self, index: int = 0, number: int = 7) -> str:
        """A sealed item code."""
        return self.sealed(item_identity(index, number))

    def histories(self) -> list[tuple[int, int, int]]:
        """What PostgreSQL counts: batch, index, scans."""
        with self.engine.connect() as connection:
            rows = connection.execute(text("SELECT batch, index, scans FROM item_history ORDER BY 1, 2"))
            return [(row[0], row[1], row[2]) for row in rows]

    def remember(self, index: int, scans: int, city: str = "", number: int = 7) -> None:
        """A history as the worker has drained it, a day ago."""
        with self.engine.begin() as connection:
            connection.execute(
                text("INSERT INTO item_history VALUES (:b, :i, :s, :at, :c, :at)"),
                {"b": number, "i": index, "s": scans, "at": datetime.now(UTC) - timedelta(days=1), "c": city},
            )


def settings(addresses: ServerAddresses, room: KeyRoom, **changes: Any) -> ScanSettings:
    """Settings of a scan process on the test servers.

    A busy machine may stall for longer than a consumer should wait: therefore both timeouts are long here. The tests
    of outages set them as in production.
    """
    values: dict[str, Any] = {
        "scan_database_url": addresses.scan_database,
        "scan_redis_url": addresses.scan_redis,
        "keyring": room.keyring,
        "root_public": room.root_public,
        "public_base": "https://zpm.example",
        "refusal_floor_ms": 0,
        "scan_database_ms": 5000,
    }
    scan_settings = ScanSettings(**(values | changes))
    return (
        scan_settings if "scan_redis_ms" in changes else scan_settings.model_copy(update={"scan_redis_ms": 5000})
    )  # beyond its bound


class ScanService:
    """A running scan process. Every call is made on its own event loop, in a thread."""

    def __init__(self, configuration: ScanSettings) -> None:
        self.app: App = create(configuration)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        self.do(self.app.start())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.do(self.app.stop())
        self.do(self._loop.shutdown_asyncgens())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine, run on the service's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    async def aget(
        self,
        path: str,
        *,
        method: str = "GET",
        client: str = "203.0.113.9",
        agent: str = IPHONE,
        language: str = "en",
        **headers: str,
    ) -> httpx.Response:
        """One request, from inside the loop."""
        transport = httpx.ASGITransport(self.app, client=(client, 40000))
        sent = {"user-agent": agent, "accept-language": language, "accept": "text/html"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        async with httpx.AsyncClient(transport=transport, base_url="http://scan") as http:
            return await http.request(method, path, headers=sent)

    def get(self, path: str, **how: Any) -> httpx.Response:
        """One request."""
        return self.do(self.aget(path, **how))

    def json(self, path: str, **how: Any) -> dict[str, Any]:
        """The answer as JSON."""
        body: dict[str, Any] = self.get(path, accept="application/json", **how).json()
        return body

    def verdict(self, path: str, **how: Any) -> str:
        """The public verdict."""
        public_name: str = self.json(path, **how)["verdict"]
        return public_name

    @contextmanager
    def reads(self) -> Iterator[list[str]]:
        """The keys that scans ask the database for inside the block.

        The process also reads the database's head every half second: these reads are not in the list.
        """
        database = self.app.database
        query = database._query
        keys: list[str] = []

        async def noted(statement: TextClause, values: dict[str, Any]) -> list[CardRow]:
            keys.extend(values.get("keys", ()))
            return await query(statement, values)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(database, "_query", noted)
            yield keys

    def compare(self) -> None:
        """Compare Redis with the database now."""
        self.do(self.app.freshness.compare())


def room_in(folder: Path) -> tuple[KeyRoom, str]:
    """A key room with one active key."""
    room = keyroom.key_room(folder)
    return room, keyroom.create(room, datetime.now(UTC) - timedelta(days=1))


def events(redis: Redis) -> list[scan_event.ScanEvent]:
    """The scans in the inbox."""
    entries = cast("list[bytes]", redis.lrange(redis_keys.INBOX, 0, -1))
    return [event for entry in entries for event in scan_event.decode(entry)]
