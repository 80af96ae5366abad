"""Records that contradict each other are refused, each with the place of the error."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from tests.support.registry_data import as_json, gtin, registry, uscc
from zpcode.errors import Finding
from zpcode.rules.cards import current_recognition
from zpcode.rules.registry import consistency
from zpcode.rules.registry.records import Recognition, Registry
from zpcode.services.registry.importing import read_file

TODAY = date(2026, 11, 21)
Content = dict[str, list[dict[str, Any]]]


def findings(content: Content) -> list[Finding]:
    """The findings of a registry, checked against an empty database."""
    draft, collected = read_file(as_json(content), TODAY)
    consistency.check(consistency.Checker(draft, Registry(), draft.registry, collected), TODAY)
    return list(collected.all())


def reasons(content: Content) -> set[tuple[str, str]]:
    """Reasons and places."""
    return {(finding.reason, finding.where) for finding in findings(content)}


def test_the_small_registry_is_right() -> None:
    assert findings(registry()) == []


def _set(sheet: str, **values: Any) -> Callable[[Content], None]:
    def change(content: Content) -> None:
        content[sheet][0].update(values)

    return change


def _without(sheet: str, *names: str) -> Callable[[Content], None]:
    def change(content: Content) -> None:
        for name in names:
            del content[sheet][0][name]

    return change


@pytest.mark.parametrize(
    ("change", "reason", "where"),
    [
        (_set("enterprises", uscc=uscc()[:17] + "0"), "uscc", "/enterprises/0/uscc"),
        (_set("enterprises", region="330104"), "region", "/enterprises/0/region"),
        (_set("enterprises", industry="Z99"), "industry", "/enterprises/0/industry"),
        (_set("enterprises", name={"zh": " ", "en": "Only English"}), "missing", "/enterprises/0/name/zh"),
        (_set("enterprises", nickname="x"), "unknown_member", "/enterprises/0/nickname"),
        (_set("enterprises", name={"zh": "好", "fr": "bon"}), "unknown_member", "/enterprises/0/name/fr"),
        (_set("enterprises", website={"a": 1}), "shape", "/enterprises/0/website"),
        (_set("standards", registration="ZZB Q0001-2023"), "registration_letter", "/standards/0/registration"),
        (_set("standards", in_force_from="2027-01-01"), "not_yet_in_force", "/standards/0/in_force_from"),
        (_set("standards", replaced_by="T/ZZB 0001-2023"), "replaced_by_itself", "/standards/0/replaced_by"),
        (_set("certificates", valid_to="2023-12-31"), "dates", "/certificates/0/valid_to"),
        (_set("certificates", uscc=uscc(9)), "unresolved", "/certificates/0/uscc"),
        (_set("certificates", body_code="XX"), "unresolved", "/certificates/0/body_code"),
        (_set("certificates", kind="green"), "certificate_kind", "/recognitions/0/certificate"),
        (_set("certificates", valid_from="2024-03-02"), "certificate_not_valid", "/recognitions/0/certificate"),
        (_set("certificates", valid_to="2024-02-29"), "certificate_not_valid", "/recognitions/0/certificate"),
        (_set("products", uscc=uscc(9)), "unresolved", "/products/0/uscc"),
        (_set("products", uscc=uscc(9)), "certificate_of_another", "/products/0/certificates"),
        (_set("products", standards=["GB 1"]), "unresolved", "/products/0/standards"),
        (_set("products", standards=[]), "missing", "/products/0/standards"),
        (_set("products", certificates=[]), "certificate_not_of_product", "/recognitions/0/certificate"),
        (_set("products", certificates=["NO-1"]), "unresolved", "/products/0/certificates"),
        (_set("recognitions", valid_to="2024-02-29"), "dates", "/recognitions/0/valid_to"),
        (_set("recognitions", gtin=gtin(9)), "unresolved", "/recognitions/0/gtin"),
        (_set("recognitions", certificate="NO-1"), "unresolved", "/recognitions/0/certificate"),
        (_without("recognitions", "certificate"), "evidence_missing", "/recognitions/0/certificate"),
        (_set("recognitions", path="transfer"), "evidence_missing", "/recognitions/0/transferred_number"),
        (_set("recognitions", path="transfer"), "evidence_of_another_path", "/recognitions/0/certificate"),
        (_set("recognitions", guarantor="某担保"), "evidence_of_another_path", "/recognitions/0/guarantor/zh"),
        (_set("indicators", gtin=gtin(9)), "unresolved", "/indicators/0/gtin"),
        (_set("indicators", product_value="59"), "indicator_not_met", "/indicators/0/product_value/zh"),
        (_set("indicators", product_value="62 HB"), "value", "/indicators/0/product_value/zh"),
        (_set("indicators", standard_value="≤ 60"), "value", "/indicators/0/standard_value/zh"),
        (_set("indicators", national_value="约 55"), "value", "/indicators/0/national_value/zh"),
        (_set("claims", kind="carbon_footprint"), "carbon_footprint", "/claims/0/value"),
        (_set("claims", kind="carbon_footprint", value="2.1"), "carbon_footprint", "/claims/0/value"),
        (_without("claims", "evidence"), "missing", "/claims/0/evidence"),
    ],
)
def test_each_contradiction_is_refused_where_it_stands(
    change: Callable[[Content], None], reason: str, where: str
) -> None:
    content = registry()
    change(content)
    assert (reason, where) in reasons(content)


def test_an_indicator_below_its_standard_is_refused_with_both_values() -> None:
    content = registry()
    content["indicators"][0]["product_value"] = "59"
    (finding,) = findings(content)
    for text in (finding.text.zh, finding.text.en):
        assert "59" in text
        assert "≥ 60" in text
    assert finding.value == "59"


def test_a_better_grade_is_kept_a_worse_one_and_an_unranked_one_are_refused() -> None:
    def reasons_of(product: str, standard: str) -> list[str]:
        content = registry()
        content["indicators"][0] |= {"direction": "text", "product_value": product, "standard_value": standard}
        del content["indicators"][0]["unit"]
        return [finding.reason for finding in findings(content)]

    assert reasons_of("优等品", "一等品") == []
    assert reasons_of("合格品", "一等品") == ["indicator_not_met"]
    assert reasons_of("4级", "3级") == ["grades"]
    assert reasons_of("无裂纹", "无可见裂纹") == []


def test_a_self_declaration_needs_all_four_pieces_of_evidence() -> None:
    content = registry()
    content["recognitions"][0] |= {"path": "self_declaration"}
    del content["recognitions"][0]["certificate"]
    assert {where.rsplit("0/")[-1] for reason, where in reasons(content) if reason == "evidence_missing"} == {
        "declaration_number", "declaration_url", "guarantee_number", "guarantor/zh",
    }  # fmt: skip


def test_an_accepted_certificate_of_another_scheme_carries_a_recognition() -> None:
    content = registry()
    content["certificates"][0] |= {"kind": "international", "accepted": True}
    assert findings(content) == []


def test_recognitions_of_one_product_may_follow_each_other_but_not_overlap() -> None:
    content = registry()
    second = {**content["recognitions"][0], "number": "PZB-0099", "valid_from": "2028-03-01", "valid_to": "2029-12-31"}
    content["recognitions"].append(second)
    assert findings(content) == []
    second["valid_from"] = "2028-02-29"
    assert ("overlap", "/recognitions/1/valid_from") in reasons(content)


@pytest.mark.parametrize(
    ("sheet", "reason"), [("indicators", "no_indicator"), ("commitments", "no_first_responsibility"), ("commitments", "no_hotline")]
)  # fmt: skip
def test_a_product_without_its_mandatory_blocks_is_refused(sheet: str, reason: str) -> None:
    content = registry()
    content[sheet] = []
    assert (reason, "/products/0") in reasons(content)


@pytest.mark.parametrize(("kind", "names"), [("hotline", {"phone"}), ("insurance", {"insurer/zh", "policy"})])
def test_a_commitment_needs_what_makes_it_one(kind: str, names: set[str]) -> None:
    content = registry()
    content["commitments"].append({"gtin": gtin(), "kind": kind, "text": "承诺"})
    assert reasons(content) == {("commitment_incomplete", f"/commitments/2/{name}") for name in names}


def test_a_product_may_do_without_a_recognition() -> None:
    content = registry()
    content["recognitions"] = []
    assert findings(content) == []


def test_the_same_key_twice_is_refused_and_the_first_place_named() -> None:
    content = registry()
    content["products"].append(dict(content["products"][0]))
    (repeated,) = [finding for finding in findings(content) if finding.reason == "repeated"]
    assert repeated.where == "/products/1/gtin"
    assert "/products/0" in repeated.text.en


def test_one_mistake_is_reported_once_not_by_everything_that_refers_to_it() -> None:
    content = registry()
    content["products"][0]["image"] = "https://elsewhere.example/cup.jpg"
    content["enterprises"][0]["region"] = "000000"
    assert reasons(content) == {("file_name", "/products/0/image"), ("region", "/enterprises/0/region")}


def test_all_mistakes_of_a_file_are_reported_in_one_run() -> None:
    content = registry()
    content["enterprises"][0]["email"] = "x"
    content["standards"][0]["status"] = "maybe"
    content["indicators"][0]["product_value"] = "1"
    content["recognitions"][0]["valid_to"] = "2020-01-01"
    assert {reason for reason, _ in reasons(content)} >= {"email", "choice", "indicator_not_met", "dates"}


def test_more_findings_than_anyone_reads_are_counted() -> None:
    content = registry()
    content["bodies"] = [{"code": f"B{number}"} for number in range(2500)]
    reported = findings(content)
    assert len(reported) == 2001
    assert reported[-1].reason == "more"


def test_the_rows_of_one_product_are_bounded() -> None:
    content = registry()
    content["claims"] = content["claims"] * 201
    assert reasons(content) == {("too_many", "/claims/200/gtin")}


def test_a_product_may_hold_its_own_lists() -> None:
    content = registry()
    product = content["products"][0]
    for name in ("recognitions", "indicators", "commitments", "claims"):
        product[name] = [{key: value for key, value in one.items() if key != "gtin"} for one in content.pop(name)]
    assert findings(content) == []
    product["indicators"][0]["product_value"] = "1"
    product["claims"][0]["gtin"] = gtin()
    assert reasons(content) == {
        ("indicator_not_met", "/products/0/indicators/0/product_value/zh"),
        ("unknown_member", "/products/0/claims/0/gtin"),
    }


def _recognition(number: str, start: str, end: str) -> Recognition:
    return Recognition(number, gtin(), "transfer", date.fromisoformat(start), date.fromisoformat(end))


def test_the_recognition_in_force_counts_else_the_last_that_ended_else_the_next() -> None:
    first = _recognition("1", "2020-01-01", "2022-12-31")
    second = _recognition("2", "2024-01-01", "2026-11-21")
    third = _recognition("3", "2027-01-01", "2029-12-31")
    every = [third, first, second]
    assert current_recognition(every, date(2026, 11, 21)) is second
    assert current_recognition(every, date(2026, 11, 22)) is second
    assert current_recognition(every, date(2023, 6, 1)) is first
    assert current_recognition(every, date(2019, 6, 1)) is first
    assert current_recognition(every, date(2027, 1, 1)) is third
    assert current_recognition([], TODAY) is None
