"""What the demo needs beyond running processes: a registry, one batch at each level, and credentials.

It goes through the same services as everybody else, and does nothing twice.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Sequence
from datetime import UTC, date, datetime
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import IO

from keys.client import SignerClient
from zpcode.demo import events
from zpcode.demo.showing import Credential, Shown
from zpcode.embedded.servers import ServerAddresses
from zpcode.errors import Conflict, SignerUnavailable
from zpcode.projection import client, projector
from zpcode.rules.access import Caller, Role
from zpcode.rules.batches.batch import Batch, BatchRequest, BatchState
from zpcode.rules.paging import MAX_PAGE
from zpcode.services import access
from zpcode.services.batches import code_file, issue, reserve
from zpcode.services.pictures.import_ import supplied
from zpcode.services.pictures.storage import PictureStorage
from zpcode.services.registry import importing, product_cards
from zpcode.store.database.session import Engine, connect, migrate, transaction
from zpcode.store.registry import records as store
from zpcode.wire.calendar import today
from zpcode.wire.card import ProductCard
from zpcode.wire.link import path_of
from zpcode.wire.payload import Level

DEMO = Caller(Role.OPERATOR, "*", "cli:demo")
# Four products of different trades, one for each level: what a visitor scans first.
QUANTITIES = {Level.PRODUCT: 50_000, Level.LOT: 5_000, Level.ITEM: 1_000, Level.COMPACT: 200}


def registered(home: Path, addresses: ServerAddresses) -> None:
    """A migrated database with the demo registry in it, and the pictures it names on their shelf."""
    engine = connect(addresses.database, pool_size=2)
    migrate(engine, scan_role="zpcode_scan")
    data = files("zpcode.demo").joinpath("registry.json").read_bytes()
    with supplied(PictureStorage((home / "pictures").absolute().as_uri()), _album()) as pictures:
        importing.import_registry(engine, data, actor=DEMO.name, now=_now(), pictures=pictures)
    engine.dispose()


def _album() -> IO[bytes]:
    """The pictures as an enterprise sends them: a ZIP. Drawn for this demo; their sources are in `drawings`."""
    album = BytesIO()
    with zipfile.ZipFile(album, "w") as archive:
        for picture in files("zpcode.demo").joinpath("pictures").iterdir():
            archive.writestr(picture.name, picture.read_bytes())
    return album


def signer_answers(home: Path) -> bool:
    """Whether the signer is up and has a key to sign with."""
    try:
        with SignerClient(home / "run" / "signer.sock", timeout=2) as signer:
            return bool(signer.active_key())
    except SignerUnavailable:
        return False


def issued(home: Path, addresses: ServerAddresses, base: str) -> list[Shown]:
    """One code of each level, from batches issued now or at an earlier start; notices; and Redis brought up to date."""
    engine = connect(addresses.database, pool_size=4)
    with SignerClient(home / "run" / "signer.sock") as signer:
        shown = [
            _shown(engine, _issued(engine, signer, home, product, level, base), home, base)
            for level, product in zip(QUANTITIES, _products(engine), strict=True)
        ]
    events.announced(engine, now=_now())
    redis = client.connect(addresses.redis)
    projector.catch_up(engine, redis)
    redis.close()
    engine.dispose()
    return shown


def _products(engine: Engine) -> Sequence[ProductCard]:
    """As many recognised products as there are levels, no two of one trade."""
    with transaction(engine) as connection:
        cards = product_cards.product_cards(connection, store.all_gtins(connection), today(_now()))
    found: dict[str, ProductCard] = {}
    for card in cards.values():
        recognition = card.recognition
        if recognition and recognition.valid_from <= today(_now()).isoformat() <= recognition.valid_to:
            found.setdefault(card.enterprise.industry_name.zh, card)
    return list(found.values())[: len(QUANTITIES)]


def _issued(engine: Engine, signer: SignerClient, home: Path, card: ProductCard, level: Level, base: str) -> Batch:
    """The demo's batch at this level: the same request under the same idempotency key is the same batch for ever."""
    request = BatchRequest(
        level=level,
        gtin=card.gtin,
        quantity=QUANTITIES[level],
        lot="" if level is Level.PRODUCT else "L20261008",
        production_date=date(2026, 10, 8),
    )
    try:
        batch = reserve.reserve(engine, request, caller=DEMO, idempotency_key=f"demo-{level}", base=base, now=_now())
    except Conflict:  # the state of an earlier version, or the registry has changed since: show what it issued
        kept = reserve.listing(engine, DEMO, limit=MAX_PAGE)
        batch = next(one for one in kept if one.created_by == DEMO.name and one.level is level)
    events.travelled(engine, batch, card, caller=DEMO, now=_now())
    if batch.state is BatchState.ISSUED:
        return batch
    return issue.issue(engine, signer, batch.number, directory=home / "exports", clock=_now)


def _shown(engine: Engine, batch: Batch, home: Path, base: str) -> Shown:
    """A batch's first code, on the address this run has: the seal does not cover the address."""
    (url,) = code_file.first_urls(batch, home / "exports", 1)
    with transaction(engine) as connection:
        card = product_cards.product_cards(connection, [batch.gtin], today(_now()))[batch.gtin]
    return Shown(batch.level, base + path_of(url), f"{card.name.zh} / {card.name.en} · {card.enterprise.name.zh}")


def credentials(home: Path, addresses: ServerAddresses) -> list[Credential]:
    """API keys for one enterprise, the province and the operator, made once and kept in a file only we can read."""
    kept = home / "secrets" / "demo-api-keys.json"
    if not kept.exists():
        engine = connect(addresses.database, pool_size=2)
        with transaction(engine) as connection:
            cards = product_cards.product_cards(connection, store.all_gtins(connection), today(_now()))
        enterprise = next(iter(cards.values())).enterprise
        wanted = [
            (Role.ENTERPRISE, enterprise.uscc, f"企业 {enterprise.name.zh}", f"enterprise {enterprise.name.en}"),
            (Role.REGULATOR, "330000", "省级市场监管", "provincial regulator"),
            (Role.OPERATOR, "*", "平台运营", "operator"),
        ]
        made = [
            [zh, en, access.create(engine, role, subject, label="demo", caller=DEMO, now=_now()).token]
            for role, subject, zh, en in wanted
        ]
        engine.dispose()
        with os.fdopen(os.open(kept, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(made, file, ensure_ascii=False)
    return [Credential(*entry) for entry in json.loads(kept.read_text("utf-8"))]


def _now() -> datetime:
    return datetime.now(UTC)
