"""Imports into a real database: all or nothing, by key, with cards and audit in one transaction."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from sqlalchemy import Engine, func, select

from tests.support.databases import as_owner
from tests.support.registry_data import as_json, as_xlsx, gtin, registry, uscc
from zpcode.errors import ImportRefused
from zpcode.rules.registry.changes import ImportReport
from zpcode.rules.registry.layout import SHEETS
from zpcode.services.registry.importing import import_registry
from zpcode.services.registry.product_cards import product_cards, rebuild_cards, turn_cards
from zpcode.store import cards
from zpcode.store.database.session import transaction
from zpcode.store.registry import records as store
from zpcode.store.tables import access, codes
from zpcode.store.tables import registry as tables
from zpcode.wire.card import ProductCard, product_key

Content = dict[str, list[dict[str, Any]]]
REGISTRY_TABLES = (
    tables.enterprise, tables.standard, tables.standard_version, tables.certification_body, tables.certificate,
    tables.product, tables.product_standard, tables.product_certificate, tables.recognition, tables.indicator,
    tables.commitment, tables.claim, codes.card, access.audit,
)  # fmt: skip


def bring_in(engine: Engine, content: Content, now: datetime, *, dry_run: bool = False) -> ImportReport:
    """Import a registry as JSON."""
    return import_registry(engine, as_json(content), actor="operator:*:test", now=now, dry_run=dry_run)


def everything(engine: Engine) -> dict[str, list[Any]]:
    """All rows of all tables an import can write."""
    with transaction(engine) as connection:
        return {table.name: sorted(map(repr, connection.execute(select(table)))) for table in REGISTRY_TABLES}


def card(engine: Engine, number: int = 1) -> ProductCard:
    """A product's card as a scan would read it."""
    with transaction(engine) as connection:
        (entry,) = cards.fetch(connection, [product_key(gtin(number))])
        return msgspec.msgpack.decode(entry.body, type=ProductCard)


def refused(engine: Engine, content: Content, now: datetime) -> set[tuple[str, str]]:
    """Reasons and places of a refused import."""
    with pytest.raises(ImportRefused) as error:
        bring_in(engine, content, now)
    return {(finding.reason, finding.where) for finding in error.value.findings}


def test_what_is_imported_can_be_scanned_with_all_four_blocks(engine: Engine, now: datetime) -> None:
    report = bring_in(engine, registry(), now)
    assert report.cards == (gtin(),)
    shown = card(engine)
    assert shown.enterprise.region_name.zh == "浙江省杭州市余杭区"
    assert shown.enterprise.industry_name.en == "Special-purpose machinery"
    assert [one.registration for one in shown.standards] == ["ZZB T0001-2023"]
    assert [one.body.zh for one in shown.certificates] == ["钱江认证中心"]
    assert [(one.product.zh, one.standard.zh) for one in shown.indicators] == [("62", "≥ 60")]
    assert [one.kind for one in shown.commitments] == ["first_responsibility", "hotline"]
    assert shown.recognition is not None
    assert shown.recognition.certificate == "ZM-0001"


def test_contact_and_mail_are_not_on_the_card(engine: Engine, now: datetime) -> None:
    content = registry()
    content["enterprises"][0]["contact"] = "不公开者"
    bring_in(engine, content, now)
    with transaction(engine) as connection:
        (entry,) = cards.fetch(connection, [product_key(gtin())])
    assert "不公开者".encode() not in entry.body
    assert b"qc@qingcheng.example" not in entry.body


def test_one_mistake_anywhere_and_nothing_is_written(engine: Engine, now: datetime) -> None:
    before = everything(engine)
    content = registry()
    content["claims"][0]["evidence_url"] = "nowhere"
    assert refused(engine, content, now) == {("url", "/claims/0/evidence_url")}
    assert everything(engine) == before


def test_a_dry_run_tells_the_same_and_writes_nothing(engine: Engine, now: datetime) -> None:
    before = everything(engine)
    tried = bring_in(engine, registry(), now, dry_run=True)
    assert everything(engine) == before
    done = bring_in(engine, registry(), now)
    assert (tried.counts, tried.changes, tried.cards) == (done.counts, done.changes, done.cards)


def test_the_same_file_again_changes_nothing_at_all(engine: Engine, now: datetime) -> None:
    bring_in(engine, registry(), now)
    before = everything(engine)
    report = import_registry(engine, as_xlsx(registry()), actor="x", now=now + timedelta(days=1))
    assert report.changes == ()
    assert report.cards == ()
    assert {count.unchanged for count in report.counts.values()} == {1, 2}
    assert everything(engine) == before


def test_a_changed_field_is_reported_with_old_and_new(engine: Engine, now: datetime) -> None:
    bring_in(engine, registry(), now)
    content = registry()
    content["enterprises"][0]["phone"] = "0571-8800 9999"
    content["indicators"][0]["product_value"] = "63"
    report = bring_in(engine, content, now)
    assert [(one.entity, one.key, one.fields) for one in report.changes] == [
        ("enterprises", uscc(), (("phone", "0571-8800 1200", "0571-8800 9999"),)),
        ("indicators", f"{gtin()}#1", (("product_value", {"zh": "62", "en": "62"}, {"zh": "63", "en": "63"}),)),
    ]
    assert report.cards == (gtin(),)
    assert card(engine).enterprise.phone == "0571-8800 9999"
    assert card(engine).indicators[0].product.zh == "63"


@pytest.mark.parametrize(
    ("sheet", "values", "changed"),
    [
        ("enterprises", {"story": "新的故事。"}, {1, 2}),
        ("enterprises", {"contact": "新联系人"}, set()),
        ("standards", {"text_url": "https://s.example/1"}, {1, 2}),
        ("bodies", {"name": "新名称"}, {1, 2}),
        ("bodies", {"approval": "CNCA-R-1"}, set()),
        ("certificates", {"valid_to": "2028-12-31"}, {1, 2}),
        ("recognitions", {"valid_to": "2028-01-31"}, {1}),
        ("products", {"model": "QC-9"}, {1}),
    ],
)
def test_a_changed_record_rewrites_exactly_the_cards_that_show_it(
    engine: Engine, now: datetime, sheet: str, values: dict[str, Any], changed: set[int]
) -> None:
    content = registry()
    sibling, foreign = registry(2), registry(3)
    sibling["products"][0] |= {"uscc": uscc(1), "standards": ["T/ZZB 0001-2023"], "certificates": ["ZM-0001"]}
    sibling["recognitions"][0]["certificate"] = "ZM-0001"
    for other in (sibling, foreign):
        for name in ("products", "recognitions", "indicators", "commitments", "claims"):
            content[name] += other[name]
    for name in ("enterprises", "standards", "certificates"):
        content[name] += foreign[name]
    content["bodies"].append({"code": "ZJ-03", "name": "另一机构"})
    content["certificates"][-1]["body_code"] = "ZJ-03"
    bring_in(engine, content, now)
    only: Content = {sheet: [{**content[sheet][0], **values}]}
    report = bring_in(engine, only, now)
    assert set(report.cards) == {gtin(number) for number in changed}


def test_columns_a_file_does_not_have_stay_and_blank_ones_become_blank(engine: Engine, now: datetime) -> None:
    bring_in(engine, registry(), now)
    content = registry()
    del content["enterprises"][0]["story"]
    content["enterprises"][0] |= {"website": None, "name": "杭州青澄机械股份有限公司"}
    del content["products"][0]["certificates"]
    bring_in(engine, content, now)
    shown = card(engine)
    assert shown.enterprise.story.zh == "二十年只做螺杆。"
    assert shown.enterprise.website == ""
    assert shown.enterprise.name.zh == "杭州青澄机械股份有限公司"
    assert shown.enterprise.name.en == "Hangzhou Qingcheng Machinery"
    assert [one.number for one in shown.certificates] == ["ZM-0001"]


def test_lists_of_a_product_are_replaced_as_a_whole_and_others_left_alone(engine: Engine, now: datetime) -> None:
    content = registry()
    content["indicators"].append({**content["indicators"][0], "name": "长度", "unit": "mm", "product_value": "70"})
    bring_in(engine, content, now)
    report = bring_in(engine, {"indicators": registry()["indicators"]}, now)
    assert [(one.key, one.kind) for one in report.changes] == [(f"{gtin()}#2", "removed")]
    assert len(card(engine).indicators) == 1
    assert len(card(engine).commitments) == 2


def test_a_changed_standard_keeps_its_former_versions(engine: Engine, now: datetime) -> None:
    bring_in(engine, registry(), now)
    for step, (version, title) in enumerate((("2025", "一"), ("2025", "二")), 1):
        content = registry()
        content["standards"][0] |= {"version": version, "title": title}
        bring_in(engine, {"standards": content["standards"]}, now + timedelta(days=step))
    with transaction(engine) as connection:
        rows = connection.execute(select(tables.standard_version).order_by(tables.standard_version.c.replaced_at)).all()
    assert [(row.version, row.record["title"]["zh"]) for row in rows] == [("2023", "双金属螺杆"), ("2025", "一")]


def test_references_resolve_into_the_registry_as_well(engine: Engine, now: datetime) -> None:
    bring_in(engine, registry(), now)
    second = registry(2)
    for name in ("enterprises", "standards", "bodies", "certificates"):
        del second[name]
    second["products"][0] |= {"uscc": uscc(1), "standards": ["T/ZZB 0001-2023"], "certificates": ["ZM-0001"]}
    second["recognitions"][0]["certificate"] = "ZM-0001"
    assert bring_in(engine, second, now).cards == (gtin(2),)


def test_a_certificate_cut_short_under_a_recognition_is_refused(engine: Engine, now: datetime) -> None:
    bring_in(engine, registry(), now)
    certificates = registry()["certificates"]
    certificates[0] |= {"valid_from": "2024-06-01"}
    assert refused(engine, {"certificates": certificates}, now) == {("certificate_not_valid", "recognitions/PZB-0001")}


def test_a_recognition_that_overlaps_one_in_the_registry_is_refused(engine: Engine, now: datetime) -> None:
    bring_in(engine, registry(), now)
    one = {**registry()["recognitions"][0], "number": "PZB-0002", "valid_from": "2025-01-01"}
    assert refused(engine, {"recognitions": [one]}, now) == {("overlap", "/recognitions/0/valid_from")}


@pytest.mark.parametrize(
    ("sheet", "values"), [("products", {"uscc": uscc(2)}), ("certificates", {"uscc": uscc(2)}), ("recognitions", {"gtin": gtin(2)})]
)  # fmt: skip
def test_what_belongs_to_one_is_never_moved_to_another(
    engine: Engine, now: datetime, sheet: str, values: dict[str, Any]
) -> None:
    bring_in(engine, registry(), now)
    bring_in(engine, registry(2), now)
    before = everything(engine)
    one = registry()[sheet][0] | values
    assert "moved" in {reason for reason, _ in refused(engine, {sheet: [one]}, now)}
    assert everything(engine) == before


def test_every_import_that_changes_something_is_audited(engine: Engine, now: datetime) -> None:
    bring_in(engine, registry(), now)
    bring_in(engine, registry(), now)
    with transaction(engine) as connection:
        (row,) = connection.execute(select(access.audit)).all()
    assert (row.action, row.actor) == ("registry.import", "operator:*:test")
    assert row.detail["counts"]["products"]["new"] == 1
    assert row.detail["changes_in_all"] == 10


def test_two_imports_at_once_both_succeed_and_leave_one_registry(engine: Engine, now: datetime) -> None:
    with ThreadPoolExecutor(4) as pool:
        reports = list(pool.map(lambda _: bring_in(engine, registry(), now), range(4)))
    assert sorted(len(report.changes) for report in reports) == [0, 0, 0, 10]
    with transaction(engine) as connection:
        assert connection.execute(select(func.count()).select_from(tables.product)).scalar() == 1


def test_a_card_turns_with_the_day_its_recognition_begins_or_ends(engine: Engine, now: datetime) -> None:
    content = registry()
    content["recognitions"][0]["valid_to"] = "2026-11-21"
    second = {**content["recognitions"][0], "number": "PZB-0099", "valid_from": "2026-11-22", "valid_to": "2029-12-31"}
    content["recognitions"].append(second)
    bring_in(engine, content, now)
    bring_in(engine, registry(2), now)
    first = card(engine).recognition
    assert first is not None
    assert first.number == "PZB-0001"
    assert turn_cards(engine, now=now) == ()
    tomorrow = now + timedelta(days=1)
    assert turn_cards(engine, now=tomorrow) == (gtin(),)
    turned = card(engine).recognition
    assert turned is not None
    assert turned.number == "PZB-0099"
    assert turn_cards(engine, now=tomorrow) == ()


def test_lost_cards_are_written_again(engine: Engine, now: datetime) -> None:
    bring_in(engine, registry(), now)
    with as_owner(engine) as connection:
        connection.execute(codes.card.delete())
    assert rebuild_cards(engine, now=now).written == (gtin(),)
    assert card(engine).gtin == gtin()
    assert rebuild_cards(engine, now=now).written == ()


def test_an_unknown_product_has_no_card(engine: Engine, now: datetime) -> None:
    with transaction(engine) as connection:
        assert product_cards(connection, [gtin(7)], now.date()) == {}


def test_every_sheet_has_its_table() -> None:
    for sheet in SHEETS:
        columns = {column.name for column in store.TABLES[sheet.plural].columns}
        assert {field.name for field in sheet.fields} - {"standards", "certificates"} <= columns
