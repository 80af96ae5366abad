"""The target of a decision as typed or scanned, parsed once.

Nothing is read from the database here, so a parsed target may not exist. `zpcode.services.status.resolve_target` then
looks it up.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NoReturn

from zpcode.errors import Finding, MalformedCode, Refused, Text
from zpcode.rules.registry import identifiers
from zpcode.wire.base32 import RFC4648, serial_number, typed_serial
from zpcode.wire.gs1 import is_lot
from zpcode.wire.link import parse, path_of
from zpcode.wire.payload import COMPACT_LENGTH, KEY_ID_LENGTH, MAX_BATCH, SERIAL_LENGTH, Identity, Serial
from zpcode.wire.vocabulary import Scope

_ITEM = re.compile(r"([0-9]{1,8}):([0-9]{1,10})", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,10}", re.ASCII)


@dataclass(frozen=True, slots=True)
class ItemName:
    """An item, named by its index in the batch or by its printed slot.

    `gtin` is set if a link named it, `check` (40 bits) if a compact code was given; both must match the item.
    """

    batch: int
    index: int | None = None
    slot: int | None = None
    gtin: str | None = None
    check: int | None = None


@dataclass(frozen=True, slots=True)
class RangeBound:
    """One end of a range: the item, and the text it was parsed from, for error messages."""

    text: str
    item: ItemName


@dataclass(frozen=True, slots=True)
class RecordTarget:
    """A lot, product, enterprise, recognition, certificate, standard or key; `key` is as in the card key.

    `text` is the target as typed, without blanks around it, also in the other kinds of target.
    """

    scope: Scope
    text: str
    key: str


@dataclass(frozen=True, slots=True)
class BatchTarget:
    """A batch by its number, for scope batch and scope range.

    `bounds` are the ends of the range that a decision is about; None at scope batch, and when a history is requested.
    """

    scope: Scope
    text: str
    number: int
    bounds: tuple[RangeBound, RangeBound] | None = None


@dataclass(frozen=True, slots=True)
class ItemTarget:
    """A single item, for scope code."""

    scope: Scope
    text: str
    item: ItemName


ParsedTarget = RecordTarget | BatchTarget | ItemTarget


def parse_target(
    scope: Scope, text: str, first: int | str | None = None, last: int | str | None = None
) -> ParsedTarget:
    """The target of a decision. `first` and `last` are the ends of a range (both included).

    `text` is a number, a code or a printed link, depending on the scope. An end of a range is an index from 0, or a
    serial. Raises Refused.
    """
    text = text.strip()
    if scope is Scope.CODE:
        return ItemTarget(scope, text, _item(text))
    if scope in {Scope.BATCH, Scope.RANGE}:
        number = _batch_number(text)
        bounds = None if first is None or last is None else (_bound(number, first), _bound(number, last))
        return BatchTarget(scope, text, number, bounds)
    return RecordTarget(scope, text, _record_key(scope, text))


def _record_key(scope: Scope, text: str) -> str:
    """The canonical form of a target. A lot and a product may also be given by their printed link."""
    match scope:
        case Scope.LOT:
            return _lot(text)
        case Scope.PRODUCT:
            return _linked(text).gtin if "/" in text else _checked(identifiers.gtin, text)
        case Scope.ENTERPRISE:
            return _checked(identifiers.uscc, text)
        case Scope.KEY:
            return _key(text)
    return re.sub(r"\s+", " ", text)


def _item(text: str) -> ItemName:
    """An item, from its printed code, link or serial, or from `NUMBER:INDEX`."""
    if match := _ITEM.fullmatch(text):
        return ItemName(_batch_number(match[1]), index=int(match[2]))
    if "/" in text:
        identity = _linked(text)
        if identity.serial is None:
            _refuse(
                "这不是单品码；品类码请用 product，批次码请用 lot",
                "this is not an item code; use scope product or lot",
                text,
            )
        return ItemName(identity.serial.batch, slot=identity.serial.slot, gtin=identity.gtin, check=identity.check)
    return _typed(text)


def _bound(number: int, value: int | str) -> RangeBound:
    """One end of a range of batch `number`, from an index (from 0) or a serial."""
    if isinstance(value, int):
        if value < 0:
            _refuse("号段的序号从 0 开始", "indices start at 0", str(value))
        return RangeBound(str(value), ItemName(number, index=value))
    text = value.strip()
    return RangeBound(value, ItemName(number, index=int(text)) if _NUMBER.fullmatch(text) else _item(text))


def _batch_number(text: str) -> int:
    """A batch number, 1 … 2²⁶-1."""
    if not _NUMBER.fullmatch(text) or not 1 <= int(text) <= MAX_BATCH:
        _refuse("批次序号应为 1 至 67108863 的整数", "a batch is named by its number, from 1 to 67108863", text)
    return int(text)


def _typed(text: str) -> ItemName:
    item = _item_of(typed_serial(text))
    if item is None:
        _refuse(
            "应为单品码、链接、序列号（12 或 20 位），或写作“批次:序号”（半角冒号）",
            "an item is named by its code, link or serial (12 or 20 characters), or as BATCH:INDEX",
            text,
        )
    return item


def _item_of(serial: str) -> ItemName | None:
    if len(serial) not in {SERIAL_LENGTH, COMPACT_LENGTH}:
        return None
    try:
        check = serial_number(serial[SERIAL_LENGTH:]) if len(serial) == COMPACT_LENGTH else None
        parsed = Serial.parse(serial[:SERIAL_LENGTH])
    except ValueError:
        return None
    return ItemName(parsed.batch, slot=parsed.slot, check=check)


def _linked(text: str) -> Identity:
    try:
        return parse(path_of(text)).identity
    except MalformedCode as error:
        raise Refused(error.text, (Finding("target", error.text, "/target", text[:80]),)) from error


def _lot(text: str) -> str:
    if "/" in text:
        identity = _linked(text)
        if identity.lot is None:
            _refuse("这不是批次码", "this is not a lot code", text)
        return f"{identity.gtin}:{identity.lot}"
    gtin, separator, lot = text.partition(":")
    lot = lot.strip().upper()
    if not separator or not is_lot(lot):
        _refuse(
            "批号应写作“GTIN:批号”（半角冒号），批号为 1 至 20 位数字、大写字母、点或连字符",
            "a lot is written GTIN:LOT; LOT is 1 to 20 of 0-9 A-Z . -",
            text,
        )
    return f"{_checked(identifiers.gtin, gtin)}:{lot}"


def _key(text: str) -> str:
    key = text.upper()
    if len(key) != KEY_ID_LENGTH or any(character not in RFC4648 for character in key):
        _refuse("密钥编号为 4 位大写字母或数字 2 至 7", "a key id is 4 characters of A-Z 2-7", text)
    return key


def _checked(parse_identifier: Callable[[str], str], text: str) -> str:
    """An identifier in its canonical form. A refusal names the field of the request and the text."""
    try:
        return parse_identifier(text)
    except Refused as error:
        findings = tuple(replace(finding, where="/target", value=text[:80]) for finding in error.findings)
        raise Refused(error.text, findings) from error


def _refuse(zh: str, en: str, value: str) -> NoReturn:
    text = Text(zh, en)
    raise Refused(text, (Finding("target", text, "/target", value[:80]),))
