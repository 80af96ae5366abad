"""Which codes of a complaint are those of one genuine item: only they have the reserve of first complaints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NoReturn

import pytest
from sqlalchemy import Engine

from keys.ceremony import KeyRoom
from keys.keyring import Keyring
from tests.support.authority import MINE, OPERATOR, THEIRS, reserved
from tests.support.keyroom import create, key_room, revoke, ring, seal
from tests.support.registry_data import as_json, gtin, registry
from zpcode.errors import KeyringError, Text
from zpcode.rules.batches.batch import Batch
from zpcode.services.complaints import about
from zpcode.services.registry.importing import import_registry
from zpcode.wire.payload import Code, Identity, Level, Serial, check_of
from zpcode.wire.permutation import Permutation

BASE = "https://zpm.example"


@dataclass(frozen=True)
class Sealer:
    """A key room with one key, and a database with the registry."""

    engine: Engine
    room: KeyRoom
    key: str

    def seal(self, identity: Identity) -> Code:
        """The code of this identity, with its seal."""
        return seal(self.room, self.key, identity)

    def genuine(self, code: Code, keyring: Callable[[], Keyring] | None = None) -> bool:
        """Whether a complaint about this code is about one genuine item."""
        return about(self.engine, keyring or (lambda: ring(self.room)), f"{BASE}{code.path}").genuine


@pytest.fixture
def sealer(engine: Engine, tmp_path: Path, now: datetime) -> Sealer:
    """Two enterprises with a product each."""
    for number in (MINE, THEIRS):
        import_registry(engine, as_json(registry(number)), actor=OPERATOR.name, now=now)
    room = key_room(tmp_path)
    return Sealer(engine, room, create(room, now))


def item(batch: Batch, index: int, product: str = "") -> Identity:
    """An item of a batch."""
    return Identity(product or batch.gtin, serial=Serial(batch.number, Permutation(batch.permutation_key).slot(index)))


def test_a_sealed_item_of_a_known_batch_is_genuine(sealer: Sealer, now: datetime) -> None:
    """Not without its seal, with another seal, beyond the batch, of an unknown batch, or of another product."""
    batch = reserved(sealer.engine, gtin(MINE), level=Level.ITEM)
    one = item(batch, 7)
    assert sealer.genuine(sealer.seal(one))
    for false in (
        Code(one),
        Code(one, sealer.seal(item(batch, 8)).seal),
        sealer.seal(item(batch, batch.quantity)),
        sealer.seal(item(batch, 7, gtin(THEIRS))),
        sealer.seal(Identity(batch.gtin, serial=Serial(batch.number + 50, 1))),
        sealer.seal(Identity(batch.gtin)),
        sealer.seal(Identity(batch.gtin, lot=batch.lot)),
    ):
        assert not sealer.genuine(false), false
    assert not sealer.genuine(sealer.seal(one), no_keyring)
    revoke(sealer.room, sealer.key, now)
    assert not sealer.genuine(sealer.seal(one))


def test_a_compact_item_of_a_known_batch_is_genuine(sealer: Sealer) -> None:
    """Not with a wrong check; and a seal does not stand for a check, nor a check for a seal."""
    compact = reserved(sealer.engine, gtin(MINE), 50)
    sealed = reserved(sealer.engine, gtin(MINE), level=Level.ITEM)
    one = item(compact, 7)
    assert one.serial is not None
    check = check_of(compact.check_key, compact.gtin, one.serial)
    assert sealer.genuine(Code(Identity(one.gtin, serial=one.serial, check=check)))
    for false in (
        Code(Identity(one.gtin, serial=one.serial, check=check ^ 1)),
        Code(Identity(gtin(THEIRS), serial=one.serial, check=check)),
        Code(Identity(one.gtin, serial=item(sealed, 7).serial, check=check)),
        sealer.seal(one),
    ):
        assert not sealer.genuine(false), false


def no_keyring() -> NoReturn:
    """The keyring of an authority that cannot trust it."""
    raise KeyringError(Text("不可信", "not to be trusted"))
