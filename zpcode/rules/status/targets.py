"""What a decision is about, as a person writes it: read into the one form that cards and records use.

Nothing is looked up here; a target that reads well may still not exist.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, NoReturn

from zpcode.errors import Finding, MalformedCode, Refused, Text
from zpcode.rules.registry import identifiers
from zpcode.wire.base32 import RFC4648, serial_number, typed_serial
from zpcode.wire.gs1 import is_lot
from zpcode.wire.link import parse, path_of
from zpcode.wire.payload import COMPACT_LENGTH, KEY_ID_LENGTH, MAX_BATCH, SERIAL_LENGTH, Identity, Serial
from zpcode.wire.vocabulary import Scope

_ITEM = re.compile(r"([0-9]{1,8}):([0-9]{1,10})", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,10}", re.ASCII)
_NUMBERED: Final = frozenset({Scope.RECOGNITION, Scope.CERTIFICATE, Scope.STANDARD})


@dataclass(frozen=True, slots=True)
class Item:
    """An item as it was named: by its index in the batch, or by its printed slot.

    `gtin` is set where a link gave one, `check` where a compact code was read (40 bits); both must fit.
    """

    batch: int
    index: int | None = None
    slot: int | None = None
    gtin: str | None = None
    check: int | None = None


def read(scope: Scope, text: str) -> str:
    """The target of a decision about anything but items: lot, product, enterprise, recognition, …, key.

    A lot and a product may also be given by their printed link. Raises Refused.
    """
    text = text.strip()
    if scope is Scope.LOT:
        return _lot(text)
    if scope is Scope.PRODUCT:
        return _linked(text).gtin if "/" in text else _placed(identifiers.gtin, text)
    if scope is Scope.ENTERPRISE:
        return _placed(identifiers.uscc, text)
    if scope is Scope.KEY:
        return _key(text)
    if scope in _NUMBERED:
        return re.sub(r"\s+", " ", text)
    return str(batch_number(text))


def item(text: str) -> Item:
    """An item, from its printed code, link or serial, or from `NUMBER:INDEX`. Raises Refused."""
    text = text.strip()
    if found := _ITEM.fullmatch(text):
        return Item(batch_number(found[1]), index=int(found[2]))
    if "/" in text:
        identity = _linked(text)
        if identity.serial is None:
            _refuse(
                "这不是单品码；品类码请用 product，批次码请用 lot",
                "this is no item code; use scope product or lot for it",
                text,
            )
        return Item(identity.serial.batch, slot=identity.serial.slot, gtin=identity.gtin, check=identity.check)
    return _typed(text)


def bound(value: int | str) -> int | Item:
    """One end of a range: an index from 0, or the item behind a serial. Raises Refused."""
    if isinstance(value, int):
        if value < 0:
            _refuse("号段从 0 开始", "indices start at 0", str(value))
        return value
    text = value.strip()
    return int(text) if _NUMBER.fullmatch(text) else item(text)


def batch_number(text: str) -> int:
    """A batch number, 1 … 2²⁶-1. Raises Refused."""
    if not _NUMBER.fullmatch(text) or not 1 <= int(text) <= MAX_BATCH:
        _refuse("批次编号应为正整数", "a batch is named by its number", text)
    return int(text)


def _typed(text: str) -> Item:
    found = _item_of(typed_serial(text))
    if found is None:
        _refuse(
            "应为单品码、链接、序列号（12 或 20 位）或 批次：序号",
            "an item is named by its code, link or serial (12 or 20 characters), or as BATCH:INDEX",
            text,
        )
    return found


def _item_of(serial: str) -> Item | None:
    if len(serial) not in {SERIAL_LENGTH, COMPACT_LENGTH}:
        return None
    try:
        check = serial_number(serial[SERIAL_LENGTH:]) if len(serial) == COMPACT_LENGTH else None
        found = Serial.parse(serial[:SERIAL_LENGTH])
    except ValueError:
        return None
    return Item(found.batch, slot=found.slot, check=check)


def _linked(text: str) -> Identity:
    try:
        return parse(path_of(text)).identity
    except MalformedCode as error:
        raise Refused(error.text, (Finding("target", error.text, "/target", text[:80]),)) from error


def _lot(text: str) -> str:
    if "/" in text:
        identity = _linked(text)
        if identity.lot is None:
            _refuse("这不是批次码", "this is no lot code", text)
        return f"{identity.gtin}:{identity.lot}"
    gtin, separator, lot = text.partition(":")
    lot = lot.strip().upper()
    if not separator or not is_lot(lot):
        _refuse(
            "批号应写成 GTIN：批号，批号为 1 至 20 位数字、大写字母、点或连字符",
            "a lot is written GTIN:LOT, its lot being 1 to 20 of 0-9 A-Z . -",
            text,
        )
    return f"{_placed(identifiers.gtin, gtin)}:{lot}"


def _key(text: str) -> str:
    key = text.upper()
    if len(key) != KEY_ID_LENGTH or any(character not in RFC4648 for character in key):
        _refuse("密钥编号为 4 位字母或数字 2 至 7", "a key id is 4 characters of A-Z 2-7", text)
    return key


def _placed(form: Callable[[str], str], text: str) -> str:
    try:
        return form(text)
    except Refused as error:
        found = tuple(replace(finding, where="/target", value=text[:80]) for finding in error.findings)
        raise Refused(error.text, found) from error


def _refuse(zh: str, en: str, value: str) -> NoReturn:
    text = Text(zh, en)
    raise Refused(text, (Finding("target", text, "/target", value[:80]),))
