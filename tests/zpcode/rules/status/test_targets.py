"""Targets as people write them."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zpcode.errors import Refused
from zpcode.rules.status.targets import (
    BatchTarget,
    ItemName,
    ItemTarget,
    ParsedTarget,
    RangeBound,
    RecordTarget,
    parse_target,
)
from zpcode.wire.payload import Code, Identity, Seal, Serial
from zpcode.wire.vocabulary import Scope

GTIN = "09501101530003"
SERIAL = Serial(7, 123_456_789)
SEAL = Seal("ABCD", bytes(range(64)))


def item(text: str) -> ItemName:
    """The item that a text names."""
    target = parse_target(Scope.CODE, text)
    assert isinstance(target, ItemTarget)
    return target.item


def named(target: ParsedTarget) -> str:
    """The target's key: a registry key, or a batch's number."""
    assert not isinstance(target, ItemTarget)
    return target.key if isinstance(target, RecordTarget) else str(target.number)


def bounds(first: int | str, last: int | str) -> tuple[RangeBound, RangeBound] | None:
    """Both ends of a range of batch 7."""
    target = parse_target(Scope.RANGE, "7", first, last)
    assert isinstance(target, BatchTarget)
    return target.bounds


@pytest.mark.parametrize(
    "text",
    [
        f"https://zpm.example{Code(Identity(GTIN, serial=SERIAL), SEAL).path}?lang=en",
        f"HTTPS://ZPM.EXAMPLE{Code(Identity(GTIN, serial=SERIAL), SEAL).path}",
        Code(Identity(GTIN, serial=SERIAL)).path,
        f"  {Code(Identity(GTIN, serial=SERIAL)).path.lower()} ",
    ],
)
def test_an_item_is_named_by_its_link(text: str) -> None:
    """With or without a seal, a host, a query."""
    assert item(text) == ItemName(7, slot=SERIAL.slot, gtin=GTIN)


def test_an_item_is_named_by_its_serial_as_typed() -> None:
    """Crockford: case, hyphens, O for 0, I and L for 1."""
    typed = SERIAL.text.lower().replace("0", "o")
    assert item(f"{typed[:4]}-{typed[4:8]}-{typed[8:]}") == ItemName(7, slot=SERIAL.slot)
    assert item(f"{SERIAL.text}0000000Z") == ItemName(7, slot=SERIAL.slot, check=31)


def test_an_item_is_named_by_batch_and_index() -> None:
    """As lists and the audit log write it."""
    assert item("7:12") == ItemName(7, index=12)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7",
        "7:",
        ":1",
        "0:1",
        "99999999:0",
        "7:-1",
        "７:１",
        "ABC",
        f"/01/{GTIN}",
        f"/01/{GTIN}/10/L1",
        "/01/1",
        "UUUUUUUUUUUU",
    ],
)
def test_what_names_no_item_is_refused(text: str) -> None:
    """Product and lot codes are refused too: they have their own scopes."""
    with pytest.raises(Refused):
        item(text)


def test_other_targets_are_read_into_the_form_the_registry_keeps() -> None:
    """A GTIN-13, a lower-case lot, stray blanks."""
    assert named(parse_target(Scope.PRODUCT, " 9501101530003 ")) == GTIN
    assert named(parse_target(Scope.PRODUCT, f"https://zpm.example/01/{GTIN}")) == GTIN
    assert named(parse_target(Scope.LOT, "9501101530003: l-1")) == f"{GTIN}:L-1"
    assert named(parse_target(Scope.LOT, f"/01/{GTIN}/10/L-1")) == f"{GTIN}:L-1"
    assert named(parse_target(Scope.STANDARD, " T/ZZB  0664-2018")) == "T/ZZB 0664-2018"
    assert named(parse_target(Scope.KEY, "abcd")) == "ABCD"
    assert named(parse_target(Scope.BATCH, "007")) == "7"
    assert named(parse_target(Scope.RANGE, "7")) == "7"


@pytest.mark.parametrize(
    ("scope", "text"),
    [
        (Scope.PRODUCT, "9501101530004"),
        (Scope.LOT, GTIN),
        (Scope.LOT, f"{GTIN}:a b"),
        (Scope.LOT, f"/01/{GTIN}"),
        (Scope.ENTERPRISE, "91330106"),
        (Scope.KEY, "ABC1"),
        (Scope.KEY, "ABCDE"),
        (Scope.BATCH, "x"),
        (Scope.BATCH, "0"),
    ],
)
def test_a_target_that_is_none_is_refused_at_its_place(scope: Scope, text: str) -> None:
    """The finding has the field and the value."""
    with pytest.raises(Refused) as caught:
        parse_target(scope, text)
    assert caught.value.findings[0].where == "/target"
    assert caught.value.findings[0].value == text


def test_an_end_of_a_range_is_an_index_or_a_serial() -> None:
    """Twelve digits are a serial, fewer an index; a bare index is one of the target's batch."""
    assert bounds(12, " 13") == (RangeBound("12", ItemName(7, index=12)), RangeBound(" 13", ItemName(7, index=13)))
    assert bounds("8:12", SERIAL.text) == (
        RangeBound("8:12", ItemName(8, index=12)),
        RangeBound(SERIAL.text, ItemName(7, slot=SERIAL.slot)),
    )
    assert parse_target(Scope.RANGE, "7") == BatchTarget(Scope.RANGE, "7", 7)
    for first, last in ((-1, 2), (0, -2), (0, "x")):
        with pytest.raises(Refused):
            bounds(first, last)


@given(st.text(max_size=40), st.sampled_from(Scope))
def test_no_text_raises_anything_but_a_refusal(text: str, scope: Scope) -> None:
    """For any text and scope."""
    with suppress(Refused):
        parse_target(scope, text)
    with suppress(Refused):
        bounds(text, text)
