"""Targets as people write them."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zpcode.errors import Refused
from zpcode.rules.status.targets import Item, bound, item, read
from zpcode.wire.payload import Code, Identity, Seal, Serial
from zpcode.wire.vocabulary import Scope

GTIN = "09501101530003"
SERIAL = Serial(7, 123_456_789)
SEAL = Seal("ABCD", bytes(range(64)))
OTHERS = [scope for scope in Scope if scope is not Scope.CODE]


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
    assert item(text) == Item(7, slot=SERIAL.slot, gtin=GTIN)


def test_an_item_is_named_by_its_serial_as_typed() -> None:
    """Crockford: case, hyphens, O for 0, I and L for 1."""
    typed = SERIAL.text.lower().replace("0", "o")
    assert item(f"{typed[:4]}-{typed[4:8]}-{typed[8:]}") == Item(7, slot=SERIAL.slot)
    assert item(f"{SERIAL.text}0000000Z") == Item(7, slot=SERIAL.slot, check=31)


def test_an_item_is_named_by_batch_and_index() -> None:
    """As lists and the audit log write it."""
    assert item("7:12") == Item(7, index=12)


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
    """Product and lot codes too: there is a scope for each."""
    with pytest.raises(Refused):
        item(text)


def test_other_targets_are_read_into_the_form_the_registry_keeps() -> None:
    """A GTIN-13, a lower-case lot, stray blanks."""
    assert read(Scope.PRODUCT, " 9501101530003 ") == GTIN
    assert read(Scope.PRODUCT, f"https://zpm.example/01/{GTIN}") == GTIN
    assert read(Scope.LOT, "9501101530003: l-1") == f"{GTIN}:L-1"
    assert read(Scope.LOT, f"/01/{GTIN}/10/L-1") == f"{GTIN}:L-1"
    assert read(Scope.STANDARD, " T/ZZB  0664-2018") == "T/ZZB 0664-2018"
    assert read(Scope.KEY, "abcd") == "ABCD"
    assert read(Scope.BATCH, "007") == "7"
    assert read(Scope.RANGE, "7") == "7"


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
    """The finding names the field and the value."""
    with pytest.raises(Refused) as caught:
        read(scope, text)
    assert caught.value.findings[0].where == "/target"
    assert caught.value.findings[0].value == text


def test_an_end_of_a_range_is_an_index_or_a_serial() -> None:
    """Twelve digits are a serial, fewer an index."""
    assert bound(12) == 12
    assert bound("12") == 12
    assert bound("7:12") == Item(7, index=12)
    assert bound(SERIAL.text) == Item(7, slot=SERIAL.slot)
    with pytest.raises(Refused):
        bound(-1)


@given(st.text(max_size=40), st.sampled_from(OTHERS))
def test_no_text_raises_anything_but_a_refusal(text: str, scope: Scope) -> None:
    """Whatever is typed."""
    for attempt in (lambda: item(text), lambda: read(scope, text), lambda: bound(text)):
        with suppress(Refused):
            attempt()
