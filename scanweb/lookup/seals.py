"""From a raw path to a code and what its seal proves. Codes with a valid seal are remembered."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, Protocol

import msgspec

from keys.keyring import Keyring, SealVerdict
from zpcode.wire import link
from zpcode.wire.card import batch_key, lot_key, product_key, standing_key
from zpcode.wire.payload import Code, Level
from zpcode.wire.vocabulary import Scope

MAX_REMEMBERED: Final = 20_000
"""Codes with a valid seal that one process remembers."""


def keys_of(code: Code) -> tuple[str, ...]:
    """The keys of the cards that a code names itself. The product's and the batch's cards name the other ones."""
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


class KeyringSource(Protocol):
    """Where the keyring in force comes from: `keys.keyring.KeyringFile`."""

    def current(self) -> Keyring:
        """The keyring in force, read at most a quarter of a second ago."""
        ...

    def reread(self) -> Keyring:
        """The keyring in force, read now."""
        ...


class CheckedCode(msgspec.Struct, gc=False):
    """A code after its seal was checked. `seal` is the seal's verdict, None for a code without one.

    `path` is the canonical path, `printed` the same with the seal, `keys` are the cards it names; `key_id` is empty for
    a code without a seal. `index` is the item's place in its batch, computed with `permutation` and stored here.
    Thousands are remembered, so the garbage collector does not track them.
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
    def of(cls, code: Code, seal: SealVerdict | None, path: str, printed: str = "") -> CheckedCode:
        """A checked code whose cards are not read yet. An empty `printed` means that it equals `path`."""
        key_id = "" if code.seal is None else code.seal.key_id
        return cls(code, seal, path, printed or path, keys_of(code), code.identity.level, key_id)


class Seals:
    """Parses codes and verifies their seals. Only codes with a valid seal are remembered, until the keyring changes."""

    __slots__ = ("_checked", "_keyring", "_source")

    def __init__(self, source: KeyringSource) -> None:
        self._source = source
        self._keyring = source.current()
        self._checked: OrderedDict[bytes, CheckedCode] = OrderedDict()

    def check(self, raw_path: bytes) -> CheckedCode:
        """Parse a raw path and verify its seal. Raises MalformedCode."""
        self._use(self._source.current())
        remembered = self._checked.get(raw_path)
        if remembered is not None:
            self._checked.move_to_end(raw_path)
            return remembered
        code, path = link.read(raw_path)
        if code.seal is not None and self._keyring.get(code.seal.key_id) is None:
            self._use(self._source.reread())  # the key may be newer than the keyring that was read last
        verdict = None if code.seal is None else self._keyring.verify_seal(code.seal, path)
        checked = CheckedCode.of(code, verdict, path, raw_path.decode("ascii").upper())
        if checked.seal is SealVerdict.VALID:
            self._checked[raw_path] = checked
            if len(self._checked) > MAX_REMEMBERED:
                self._checked.popitem(last=False)
        return checked

    def _use(self, keyring: Keyring) -> None:
        if keyring is not self._keyring:
            self._keyring = keyring
            self._checked.clear()
