"""From a raw path to a code and what its seal proves, with the good answers of late kept at hand."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, Protocol

import msgspec

from keys.keyring import Keyring, SealVerdict
from zpcode.wire import link
from zpcode.wire.card import batch_key, lot_key, product_key, standing_key
from zpcode.wire.payload import Code, Level
from zpcode.wire.vocabulary import Scope

KEPT: Final = 20_000


def keys_of(code: Code) -> tuple[str, ...]:
    """The cards a code names by itself. The product's and the batch's own cards name the rest."""
    identity = code.identity
    keys = [product_key(identity.gtin)]
    if identity.serial is not None:
        keys.insert(0, batch_key(identity.serial.batch))
    if identity.lot is not None:
        key = lot_key(identity.gtin, identity.lot)
        keys += [key, standing_key(Scope.LOT, key[2:])]
    if code.seal is not None:
        keys.append(standing_key(Scope.KEY, code.seal.key_id))
    return tuple(keys)


class Rings(Protocol):
    """Where the keyring in force comes from: `keys.keyring.KeyringFile`."""

    def current(self) -> Keyring:
        """The keyring in force, as of a quarter of a second ago at most."""
        ...

    def look(self) -> Keyring:
        """The keyring in force now."""
        ...


class Checked(msgspec.Struct, gc=False):
    """A code, what its seal proves (None: it has none), its canonical path (and with its seal), and the cards it names.

    `index` is the item's place in its batch, once that is known, worked out with `permutation`; `key_id` is empty where
    there is no seal. Thousands are remembered, so none is anything for the garbage collector to walk.
    """

    code: Code
    seal: SealVerdict | None
    path: str
    printed: str
    keys: tuple[str, ...]
    level: Level
    key_id: str
    index: int | None = None
    permutation: object = None

    @classmethod
    def of(cls, code: Code, seal: SealVerdict | None, path: str, printed: str = "") -> Checked:
        """What is known of a code before any card is. `printed` is `path` where there is nothing before it."""
        key_id = "" if code.seal is None else code.seal.key_id
        return cls(code, seal, path, printed or path, keys_of(code), code.identity.level, key_id)


class Seals:
    """Parses and verifies. Right seals are remembered until the keyring changes; anything else never is."""

    __slots__ = ("_checked", "_ring", "_rings")

    def __init__(self, rings: Rings) -> None:
        self._rings = rings
        self._ring = rings.current()
        self._checked: OrderedDict[bytes, Checked] = OrderedDict()

    def check(self, raw_path: bytes) -> Checked:
        """What stands in a raw path. Raises MalformedCode."""
        self._follow(self._rings.current())
        known = self._checked.get(raw_path)
        if known is not None:
            self._checked.move_to_end(raw_path)
            return known
        code, path = link.read(raw_path)
        if code.seal is not None and self._ring.get(code.seal.key_id) is None:
            self._follow(self._rings.look())  # a key may be younger than the last look
        verdict = None if code.seal is None else self._ring.verify_seal(code.seal, path)
        checked = Checked.of(code, verdict, path, raw_path.decode("ascii").upper())
        if checked.seal is SealVerdict.VALID:
            self._checked[raw_path] = checked
            if len(self._checked) > KEPT:
                self._checked.popitem(last=False)
        return checked

    def _follow(self, ring: Keyring) -> None:
        if ring is not self._ring:
            self._ring = ring
            self._checked.clear()
