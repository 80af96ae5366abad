"""The setting of the issuing tests: one enterprise with a product, and a running signer.

The registry's rows and cards are written directly; the signer is the real one, in its own processes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
from sqlalchemy import Engine, insert, select, update

from keys.ceremony import KeyRoom, create_key, create_root, revoke, rotate
from keys.client import SignerClient
from keys.keyring import KeyPurpose, Keyring
from tests.support.code_folders import content
from tests.support.databases import as_owner
from zpcode.errors import SignerUnavailable
from zpcode.rules.access import Caller, Role
from zpcode.rules.batches.batch import Batch, BatchRequest
from zpcode.rules.continuity import Marks
from zpcode.services.batches.code_folder import CodeFolder
from zpcode.services.batches.reserve import reserve
from zpcode.store import recovery
from zpcode.store.cards import put_cards
from zpcode.store.database.session import transaction
from zpcode.store.tables.codes import batch
from zpcode.store.tables.registry import enterprise, product
from zpcode.wire.card import (
    EnterpriseInfo,
    ProductCard,
    RecognitionInfo,
    StandardInfo,
    Standing,
    Timeline,
    product_key,
    standing_key,
)
from zpcode.wire.link import parse, path_of
from zpcode.wire.payload import Code, Level
from zpcode.wire.vocabulary import Bilingual, Scope, State

USCC = "91330106MA2XXXXX0A"
OTHER_USCC = "91330200MA2YYYYY0B"
GTIN = "09501101530003"
OTHER_GTIN = "09501101530010"
BASE = "https://zpm.zjs.cn"
NOW = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)
WORD = b"a passphrase for tests"

MAKER = Caller(Role.ENTERPRISE, USCC, "test-key")
OTHER = Caller(Role.ENTERPRISE, OTHER_USCC, "other-key")
OPERATOR = Caller(Role.OPERATOR, "*", "cli:test")


def recognition(**changes: str) -> RecognitionInfo:
    """A recognition in force at NOW, with these changes."""
    values: dict[str, object] = {
        "number": "ZPM-2025-001",
        "path": "certification",
        "valid_from": "2025-01-01",
        "valid_to": "2027-12-31",
    }
    return RecognitionInfo(**{**values, **changes})  # type: ignore[arg-type]


def product_card(gtin: str = GTIN, uscc: str = USCC, region: str = "330106", **changes: object) -> ProductCard:
    """A product as the scan service knows it."""
    card = ProductCard(
        gtin=gtin,
        name=Bilingual("龙井茶", "Longjing tea"),
        enterprise=EnterpriseInfo(uscc, Bilingual("西湖茶厂", "West Lake Tea"), region, Bilingual("西湖区", "Xihu")),
        recognition=recognition(),
        standards=(StandardInfo("T/ZZB 0664-2018", Bilingual("龙井茶", "Longjing tea")),),
        certificates=(),
        indicators=(),
        commitments=(),
    )
    return msgspec.structs.replace(card, **changes)


def register(engine: Engine, card: ProductCard, *, quota: int | None = None) -> None:
    """Store an enterprise and its product as the registry import does."""
    info = card.enterprise
    with transaction(engine) as connection:
        if connection.execute(select(enterprise.c.uscc).where(enterprise.c.uscc == info.uscc)).one_or_none() is None:
            name = {"zh": info.name.zh, "en": info.name.en}
            row = {"uscc": info.uscc, "name": name, "region": info.region, "industry": "C1530", "code_quota": quota}
            connection.execute(insert(enterprise).values(row))
        connection.execute(insert(product).values(gtin=card.gtin, uscc=info.uscc, name={"zh": card.name.zh}))
        put_cards(connection, {product_key(card.gtin): msgspec.msgpack.encode(card)})


def decide(engine: Engine, scope: Scope, target: str, state: State, at: datetime = NOW) -> None:
    """Write a decision about a registry record as the status service projects it."""
    timeline = Timeline((Standing(state, int(at.timestamp())),))
    with transaction(engine) as connection:
        put_cards(connection, {standing_key(scope, target): msgspec.msgpack.encode(timeline)})


def request(**changes: object) -> BatchRequest:
    """A request for a hundred item codes, with these changes."""
    values: dict[str, object] = {"level": Level.ITEM, "gtin": GTIN, "quantity": 100}
    return BatchRequest(**{**values, **changes})  # type: ignore[arg-type]


def reserved(engine: Engine, key: str = "key-1", caller: Caller = MAKER, **changes: object) -> int:
    """The number of a newly reserved batch."""
    return reserve(engine, request(**changes), caller=caller, idempotency_key=key, base=BASE, now=NOW).number


def same_keys(engine: Engine, number: int, like: int) -> None:
    """Give a batch the secret keys of another, so that both have the same slots."""
    with as_owner(engine) as connection:
        row = connection.execute(select(batch).where(batch.c.number == like)).one()
        values = {"permutation_key": row.permutation_key, "check_key": row.check_key}
        connection.execute(update(batch).where(batch.c.number == number).values(values))


@dataclass(frozen=True, slots=True)
class KeyHouse:
    """A key room with a root, and where its signer listens."""

    room: KeyRoom
    home: Path

    @property
    def socket(self) -> Path:
        """Where the signer listens."""
        return self.home / "signer.sock"

    @property
    def keyring(self) -> Keyring:
        """The keyring as published now."""
        return Keyring.load(self.room.keyring.read_bytes(), self.room.root_public.read_bytes())

    def client(self) -> SignerClient:
        """A client of this signer."""
        return SignerClient(self.socket, timeout=60)

    @contextmanager
    def signer(self, processes: int = 2, module: str = "keys") -> Iterator[SignerClient]:
        """The signer, running until the end of the block. `module` is what Python runs with the argument `serve`."""
        word = self.home / "passphrase"
        if not word.exists():
            word.touch(mode=0o600)
            word.write_bytes(WORD)
        environment = {
            **os.environ,
            "ZPCODE_HOME": str(self.home),
            "ZPCODE_SIGNER_SOCKET": str(self.socket),
            "ZPCODE_KEYS_DIR": str(self.room.keys_dir),
            "ZPCODE_KEYRING": str(self.room.keyring),
            "ZPCODE_ROOT_PUBLIC": str(self.room.root_public),
            "ZPCODE_KEY_PASSPHRASE_FILE": str(word),
            "ZPCODE_SIGNER_LOG": str(self.home / "signer.jsonl"),
            "ZPCODE_SIGNER_PROCESSES": str(processes),
        }
        process = subprocess.Popen([sys.executable, "-m", module, "serve"], env=environment, stderr=subprocess.DEVNULL)
        try:
            client = self.client()
            _wait(client, process)
            yield client
        finally:
            process.terminate()
            process.wait(20)


def key_room_in(home: Path) -> KeyRoom:
    """Where the key room below `home` has its files."""
    return KeyRoom(home / "keys", home / "keyring.json", home / "root.key.pem", home / "root.pub.pem")


def key_house(home: Path, now: datetime | None = None) -> KeyHouse:
    """A key room with a root key and one active signing key of each purpose."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    room = key_room_in(home)
    create_root(room, root_passphrase=WORD)
    begin = (now or datetime.now(UTC)) - timedelta(days=1)
    for purpose in KeyPurpose:
        create_key(
            room, passphrase=WORD, root_passphrase=WORD, now=begin, validity=timedelta(days=365), purpose=purpose
        )
    return KeyHouse(room, home)


def continue_after(engine: Engine, house: KeyHouse) -> None:
    """Number batches after those that this signer has signed for other databases: else this one is found to be behind."""
    with house.client() as signer:
        reached = signer.high_water().batch
    if reached:
        with transaction(engine) as connection:
            recovery.move_sequences(connection, Marks(batch=reached))
            recovery.add_lost(connection, [reached], 1, {})


def rotate_key(house: KeyHouse) -> None:
    """Make a new key active; the old one only finishes its batches."""
    now, year = datetime.now(UTC), timedelta(days=365)
    rotate(house.room, passphrase=WORD, root_passphrase=WORD, now=now, validity=year)


def revoke_key(house: KeyHouse, key_id: str) -> None:
    """Revoke a key for good."""
    revoke(house.room, key_id, reason="a test", root_passphrase=WORD, now=datetime.now(UTC))


def last_code(folder: CodeFolder, made: Batch) -> Code:
    """The last code of a finished file."""
    line = content(folder, made).rstrip().rpartition(b"\n")[2].decode("ascii")
    return parse(path_of(line.partition(",")[0]))


def _wait(client: SignerClient, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        try:
            client.active_key()
        except SignerUnavailable:
            assert process.poll() is None, "the signer ended"
            time.sleep(0.05)
        else:
            return
    raise AssertionError("the signer did not start")
