"""Texts that show nothing are empty, and piles of combining marks are refused, for every reader of texts."""

from __future__ import annotations

from datetime import date

import pytest

from tests.zpcode.rules.status.test_permissions import refusals, request
from tests.zpcode.rules.test_journey_rules import wrong
from zpcode.errors import Refused
from zpcode.language.visible import MAX_MARKS, is_blank, piles_marks, text_fault
from zpcode.rules.access import Caller, Role, key_subject
from zpcode.rules.complaints import complaint
from zpcode.rules.journey import EventRequest, check_reason
from zpcode.rules.registry.cell_values import clean
from zpcode.rules.registry.layout import BODIES
from zpcode.rules.registry.reader import ImportFindings, SheetRow, read_rows
from zpcode.services.batches import downloads
from zpcode.wire.vocabulary import Bilingual

NOTHING = {
    "marks without a base": "\u0301\u0302",
    "an enclosing mark": "\u20dd",
    "zero-width blank": "\u200b\u200b",
    "zero-width joiners": "\u200d\u200c",
    "word joiner and byte order mark": "\u2060\ufeff",
    "empty Braille pattern": "\u2800",
    "Hangul filler": "\u3164",
    "Hangul initial and medial filler": "\u115f\u1160",
    "half-width Hangul filler": "\uffa0",
    "variation selectors": "\ufe0f\U000e0100",
    "tag characters": "\U000e0041\U000e007f",
    "unassigned ignorable": "\U000e0ff0",
    "soft hyphen": "\u00ad",
    "direction marks": "\u200e\u202e",
    "wide blanks": "\u3000\u2003",
    "line separator": "\u2028",
    "null note head": "\U0001d159",
    "object replacement": "\ufffc",
    "some of each": " \u2800\u0301\u3164\u200b",
}
SHOWN = (
    "茶",
    "龙井茶 1",
    "Việt Nam",
    "é",
    "①",
    "…",
    "สวัสดี",
    "ཀྵུ",
    "한",
    "👩\u200d🌾",
    "葛\U000e0100",
    "\U000323b0",
    "\ue000",
)
PILE = "Z" + "\u0335" * (MAX_MARKS + 1)


@pytest.mark.parametrize("kind", NOTHING)
def test_what_shows_nothing_is_blank(kind: str) -> None:
    assert is_blank(NOTHING[kind])
    assert clean(NOTHING[kind]) == clean(NOTHING[kind], lines=True) == ""


@pytest.mark.parametrize("text", SHOWN)
def test_text_of_every_language_is_shown(text: str) -> None:
    assert not is_blank(text)
    assert text_fault(text) is None


def test_eight_marks_in_a_row_are_few_and_nine_are_a_pile() -> None:
    assert not piles_marks("e" + "\u0301" * MAX_MARKS + "e\u0301" * 100)
    assert piles_marks(PILE)


@pytest.mark.parametrize("kind", NOTHING)
def test_no_reader_takes_what_shows_nothing_for_a_text(kind: str) -> None:
    text = NOTHING[kind]
    assert reasons(lambda: key_subject(Role.OPERATOR, "*", text)) == ("label",)
    assert reasons(lambda: complaint.read("quality", text, "", "", "", "zh-CN")) == ("missing",)
    assert complaint.read("quality", "坏了", text, "", "", "zh-CN").place == ""
    assert reasons(lambda: check_reason(text)) != ()
    assert refusals(request(note=Bilingual("停售" + text, ""), legal_basis=text)) != ()
    operator = Caller(Role.OPERATOR, "*", "1")
    assert reasons(lambda: downloads.check_reason(operator, text)) == ("reason",)
    assert registry_reasons(text) == ["missing"]


def test_every_reader_refuses_a_pile_of_marks() -> None:
    assert reasons(lambda: key_subject(Role.OPERATOR, "*", PILE)) == ("label",)
    assert reasons(lambda: complaint.read("quality", PILE, "", "", "", "zh-CN")) == ("marks",)
    assert reasons(lambda: check_reason(PILE)) == ("marks",)
    assert refusals(request(notice=PILE)) == ("marks",)
    assert ("marks", "0:document") in wrong(EventRequest("stored", "2026-01-05", document=PILE))
    assert reasons(lambda: downloads.check_reason(Caller(Role.ENTERPRISE, "1", "1"), PILE)) == ("reason",)
    assert registry_reasons(PILE) == ["marks"]


def reasons(call: object) -> tuple[str, ...]:
    """Why a call is refused; nothing if it is not."""
    assert callable(call)
    try:
        call()
    except Refused as refused:
        return refused.reasons
    return ()


class Row:
    """The location of a row, as in a file."""

    def where(self, column: str = "") -> str:
        """Only the column."""
        return column


def registry_reasons(name: str) -> list[str]:
    """Why a certification body of this name is not read from a file."""
    cells = {"code": "B1", "name.zh": name}
    findings = ImportFindings()
    read_rows([SheetRow(BODIES, Row(), cells, frozenset(cells))], findings, date(2026, 10, 8))
    return [one.reason for one in findings.items]
