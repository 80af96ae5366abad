"""The data of the demo: a registry, one batch of codes at each level, and API keys.

It is made through the same services as all other data. Data of an earlier start is used again.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Sequence
from datetime import UTC, date, datetime
from functools import partial
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import IO

from keys.client import SignerClient
from zpcode.demo import events
from zpcode.demo.console import Credential, DemoCode
from zpcode.embedded.servers import ServerAddresses
from zpcode.errors import Conflict, SignerUnavailable
from zpcode.projection import client, projector
from zpcode.projection.head_keys import HeadKeys
from zpcode.rules.access import Caller, Role
from zpcode.rules.batches.batch import Batch, BatchRequest, BatchState
from zpcode.rules.paging import MAX_PAGE
from zpcode.services import access
from zpcode.services.batches import code_file, file_keys, issue, reserve
from zpcode.services.batches.code_folder import CodeFolder
from zpcode.services.batches.encrypt import encrypt_all
from zpcode.services.batches.rewrite import reissue
from zpcode.services.continuity.gate import ContinuityGate
from zpcode.services.continuity.witnesses import WITNESS_SECONDS, FilesWitness, RedisWitness, SignerWitness, Witness
from zpcode.services.pictures.import_ import open_pictures
from zpcode.services.pictures.storage import PictureStorage
from zpcode.services.registry import importing, product_cards
from zpcode.store.database.session import Engine, connect, migrate_embedded, transaction
from zpcode.store.registry import records as store
from zpcode.wire.calendar import today
from zpcode.wire.card import ProductCard
from zpcode.wire.link import path_of
from zpcode.wire.payload import Level

DEMO = Caller(Role.OPERATOR, "*", "cli:demo")
# Codes in the batch of each level. Each level has a product of another industry.
QUANTITIES = {Level.PRODUCT: 50_000, Level.LOT: 5_000, Level.ITEM: 1_000, Level.COMPACT: 200}


def seed_registry(home: Path, addresses: ServerAddresses) -> None:
    """Migrate the database, and import the demo registry and the pictures of its products. Raises DatabaseBehind."""
    migrate_embedded(addresses)
    engine = _gated(home, addresses)
    data = files("zpcode.demo").joinpath("registry.json").read_bytes()
    with open_pictures(PictureStorage((home / "pictures").absolute().as_uri()), _pictures()) as pictures:
        importing.import_registry(engine, data, actor=DEMO.name, now=_now(), pictures=pictures)
    engine.dispose()


def _gated(home: Path, addresses: ServerAddresses) -> Engine:
    """An engine whose writers pass the gate, like those of every process."""
    engine = connect(addresses.database, pool_size=4)
    witnesses: list[Witness] = [
        RedisWitness(client.connect(addresses.redis)),
        FilesWitness(home / "exports", _folder(home).key_file),
        SignerWitness(SignerClient(home / "run" / "signer.sock", timeout=WITNESS_SECONDS)),
    ]
    ContinuityGate(engine, witnesses).install()
    HeadKeys(partial(file_keys.secrets_of, _folder(home).key_file)).install(engine)
    return engine


def _pictures() -> IO[bytes]:
    """The pictures as a ZIP, as an enterprise uploads them. They were drawn for this demo: sources in `drawings`."""
    upload = BytesIO()
    with zipfile.ZipFile(upload, "w") as archive:
        for picture in files("zpcode.demo").joinpath("pictures").iterdir():
            archive.writestr(picture.name, picture.read_bytes())
    return upload


def signer_answers(home: Path) -> bool:
    """Whether the signer answers and has an active key."""
    try:
        with SignerClient(home / "run" / "signer.sock", timeout=2) as signer:
            return bool(signer.active_key())
    except SignerUnavailable:
        return False


def seed_codes(home: Path, addresses: ServerAddresses, base: str) -> list[DemoCode]:
    """Issue one batch at each level, publish the notices and update Redis; returns one code of each level."""
    engine = _gated(home, addresses)
    file_keys.create(_folder(home).key_file)
    encrypt_all(engine, _folder(home))  # an earlier version of the demo did not encrypt
    with SignerClient(home / "run" / "signer.sock") as signer:
        codes = [
            _first_code(engine, _issue(engine, signer, home, product, level, base), home, base)
            for level, product in zip(QUANTITIES, _products(engine), strict=True)
        ]
    events.publish_notices(engine, now=_now())
    redis = client.connect(addresses.redis)
    projector.catch_up(engine, redis)
    redis.close()
    engine.dispose()
    return codes


def _folder(home: Path) -> CodeFolder:
    return CodeFolder(home / "exports", home / "secrets" / "files.key")


def _products(engine: Engine) -> Sequence[ProductCard]:
    """A product with a valid recognition for each level, no two of the same industry."""
    with transaction(engine) as connection:
        cards = product_cards.product_cards(connection, store.all_gtins(connection), today(_now()))
    by_industry: dict[str, ProductCard] = {}
    for card in cards.values():
        recognition = card.recognition
        if recognition and recognition.valid_from <= today(_now()).isoformat() <= recognition.valid_to:
            by_industry.setdefault(card.enterprise.industry_name.zh, card)
    return list(by_industry.values())[: len(QUANTITIES)]


def _issue(engine: Engine, signer: SignerClient, home: Path, card: ProductCard, level: Level, base: str) -> Batch:
    """The demo's batch at this level. Its idempotency key is fixed, so a later start gets the same batch again."""
    request = BatchRequest(
        level=level,
        gtin=card.gtin,
        quantity=QUANTITIES[level],
        lot="" if level is Level.PRODUCT else "L20261008",
        production_date=date(2026, 10, 8),
    )
    try:
        batch = reserve.reserve(engine, request, caller=DEMO, idempotency_key=f"demo-{level}", base=base, now=_now())
    except Conflict:  # an earlier version of the demo issued it with another request: use that batch
        batches = reserve.listing(engine, DEMO, limit=MAX_PAGE)
        batch = next(batch for batch in batches if batch.created_by == DEMO.name and batch.level is level)
    events.record_journey(engine, batch, card, caller=DEMO, now=_now())
    if batch.state is BatchState.ISSUED:
        reissue(
            engine, signer, batch.number, folder=_folder(home), clock=_now
        )  # it may have been removed after its time
        return batch
    return issue.issue(engine, signer, batch.number, folder=_folder(home), clock=_now)


def _first_code(engine: Engine, batch: Batch, home: Path, base: str) -> DemoCode:
    """The first code of a batch, with the base address of this run: the seal does not cover the address."""
    (url,) = code_file.first_urls(batch, _folder(home), 1)
    with transaction(engine) as connection:
        card = product_cards.product_cards(connection, [batch.gtin], today(_now()))[batch.gtin]
    return DemoCode(batch.level, base + path_of(url), f"{card.name.zh} / {card.name.en} · {card.enterprise.name.zh}")


def seed_credentials(home: Path, addresses: ServerAddresses) -> list[Credential]:
    """API keys of an enterprise, the province and the operator. The first start writes them to a file of mode 0600."""
    path = home / "secrets" / "demo-api-keys.json"
    if not path.exists():
        engine = _gated(home, addresses)
        with transaction(engine) as connection:
            cards = product_cards.product_cards(connection, store.all_gtins(connection), today(_now()))
        enterprise = next(iter(cards.values())).enterprise
        wanted = [
            (Role.ENTERPRISE, enterprise.uscc, f"企业 {enterprise.name.zh}", f"enterprise {enterprise.name.en}"),
            (Role.REGULATOR, "330000", "省级监管部门", "provincial regulator"),
            (Role.OPERATOR, "*", "平台运营方", "operator"),
        ]
        made = [
            [zh, en, access.create(engine, role, subject, "demo", caller=DEMO, now=_now()).token]
            for role, subject, zh, en in wanted
        ]
        engine.dispose()
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(made, file, ensure_ascii=False)
    return [Credential(*entry) for entry in json.loads(path.read_text("utf-8"))]


def _now() -> datetime:
    return datetime.now(UTC)
