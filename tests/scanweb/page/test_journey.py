"""The journey in a scan: on the page of an item and of a lot, in JSON, and nowhere else."""

from __future__ import annotations

import msgspec

from tests.support import scan_factories as make
from tests.support.scan_factories import GTIN, ScanAuthority, ScanService
from zpcode.wire.card import LotCard, TraceEvent, batch_key, lot_key
from zpcode.wire.payload import Identity
from zpcode.wire.vocabulary import Bilingual

MIDNIGHT = 1_791_388_800  # 8 October 2026 in Hangzhou
JOURNEY = (
    TraceEvent("produced", MIDNIGHT, place=Bilingual("龙泉", "Longquan"), by=Bilingual("一号窑", "Kiln 1")),
    TraceEvent("inspected", MIDNIGHT + 98_400, "minute", note=Bilingual("<b>全项合格</b>"), document="QC-2026-17"),
    TraceEvent("shipped", MIDNIGHT + 172_800, place=Bilingual("发往上海", "To Shanghai")),
)


def travelled(registry: ScanAuthority) -> None:
    """A batch and a lot with these events."""
    lot = LotCard(GTIN, "L2026", make.day(-30), make.day(300), 1_700_000_000, JOURNEY[:1])
    registry.put({batch_key(7): make.batch(journey=JOURNEY), lot_key(GTIN, "L2026"): lot})


def test_an_items_page_shows_its_journey_in_both_languages(registry: ScanAuthority, service: ScanService) -> None:
    """In order, with document numbers, as text without markup."""
    travelled(registry)
    page = service.get(registry.item(), language="zh-CN").text
    places = [
        page.index(word) for word in ("龙泉</", "一号窑", "&lt;b&gt;全项合格", "QC-2026-17", "发往上海") if word in page
    ]
    assert len(places) >= 4
    assert places == sorted(places)
    assert "<b>全项合格" not in page
    english = service.get(registry.item(), language="en").text
    assert "Kiln 1" in english
    assert "To Shanghai" in english


def test_a_lots_page_shows_its_own_and_a_products_page_none(registry: ScanAuthority, service: ScanService) -> None:
    """A product code is for all pieces of a product."""
    travelled(registry)
    lot = service.json(registry.sealed(Identity(GTIN, lot="L2026")))["goods"]
    assert [event["kind"] for event in lot["journey"]] == ["produced"]
    product = service.get(registry.sealed(Identity(GTIN))).text
    assert "Kiln 1" not in product
    assert service.json(registry.sealed(Identity(GTIN)))["goods"] is None


def test_in_json_a_day_is_a_date_and_a_time_is_utc(registry: ScanAuthority, service: ScanService) -> None:
    """As everywhere else; a batch without events has an empty list."""
    assert service.json(registry.item())["goods"]["journey"] == []
    travelled(registry)
    events = service.json(registry.item())["goods"]["journey"]
    assert [event["at"] for event in events] == ["2026-10-08", "2026-10-08T19:20:00Z", "2026-10-10"]
    assert events[0] == {
        "kind": "produced",
        "at": "2026-10-08",
        "place": {"zh": "龙泉", "en": "Longquan"},
        "by": {"zh": "一号窑", "en": "Kiln 1"},
        "note": {"zh": "", "en": ""},
        "document": "",
    }


def test_a_card_without_events_is_the_same_bytes_as_before_there_were_any() -> None:
    """Therefore an upgrade rewrites no card, and an old card is read as one without a journey."""
    for card in (make.batch(), LotCard(GTIN, "L")):
        assert b"journey" not in msgspec.msgpack.encode(card)
        assert card.journey == ()
