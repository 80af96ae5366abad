"""Whether the records of a registry are consistent. Pure: the date is an argument.

The checked registry is the result of the import (`records.merged`): a file with only a certificate may end a recognition
that is based on it. Findings name the row that caused them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from itertools import pairwise

from zpcode.errors import Findings
from zpcode.rules.registry.grades import grade_meets, is_grade
from zpcode.rules.registry.identifiers import registration_letter
from zpcode.rules.registry.reader import FileRecords
from zpcode.rules.registry.records import (
    Certificate,
    Commitment,
    Indicator,
    Product,
    ProductClaim,
    Recognition,
    Registry,
    Standard,
)
from zpcode.wire.quantity import fits_direction, meets, span
from zpcode.wire.vocabulary import Bilingual

PATH_EVIDENCE = {
    "certification": ("certificate",),
    "self_declaration": ("declaration_number", "declaration_url", "guarantee_number", "guarantor"),
    "transfer": ("transferred_scheme", "transferred_number"),
}


@dataclass(slots=True)
class Checker:
    """One check of a file: its records, the stored registry, the resulting registry, and the findings."""

    file: FileRecords
    stored: Registry
    result: Registry
    findings: Findings
    by_gtin: dict[str, list[Recognition]] = field(init=False)

    def __post_init__(self) -> None:
        by_gtin: defaultdict[str, list[Recognition]] = defaultdict(list)
        for one in sorted(self.result.recognitions.values(), key=lambda one: (one.valid_from, one.number)):
            by_gtin[one.gtin].append(one)
        self.by_gtin = by_gtin

    def add(
        self, at: tuple[str, str, int], reason: str, zh: str, en: str, *, column: str = "", value: object = None
    ) -> None:
        """Add a finding about a record: at its row in the file, or else at its name in the registry."""
        location = self.file.locations.get(at)
        where = location.where(column) if location is not None else f"{at[0]}/{at[1]}"
        self.findings.add(reason, zh, en, where=where, value=value)

    def exists(self, plural: str, key: str) -> bool:
        """Whether a record is in the resulting registry, or in an unreadable row of the file."""
        return key in getattr(self.result, plural) or (plural, key) in self.file.unreadable

    def resolves(self, at: tuple[str, str, int], column: str, plural: str, key: str) -> bool:
        """Whether a referenced record exists; adds a finding if it does not."""
        if not self.exists(plural, key):
            self.add(
                at,
                "unresolved",
                "所引用的记录不在本文件中，也不在登记册中",
                "refers to a record that is neither in this file nor in the registry",
                column=column,
                value=key,
            )
        return key in getattr(self.result, plural)


def check(checker: Checker, today: date) -> None:
    """Apply all rules to the records of the file and to the products that they affect."""
    file = checker.file.registry
    for standard in file.standards.values():
        _standard(checker, standard, today)
    for certificate in file.certificates.values():
        _certificate(checker, certificate)
    for recognition in file.recognitions.values():
        _recognition(checker, recognition)
    for plural in ("indicators", "commitments", "claims"):
        for gtin in getattr(file, plural):
            checker.resolves((plural, gtin, 0), "gtin", "products", gtin)
    for gtin in affected_products(checker.file, checker.result):
        product = checker.result.products.get(gtin)
        if product is not None:
            _product(checker, product)


def affected_products(records: FileRecords, result: Registry) -> Iterable[str]:
    """The GTINs of the products whose checks may depend on the file, in order."""
    file = records.registry
    gtins = {*file.products, *file.indicators, *file.commitments, *file.claims}
    gtins |= {one.gtin for one in file.recognitions.values()}
    gtins |= {one.gtin for one in result.recognitions.values() if one.certificate in file.certificates}
    gtins |= {
        one.gtin for one in result.products.values() if any(number in file.certificates for number in one.certificates)
    }
    return sorted(gtins)


def _standard(checker: Checker, standard: Standard, today: date) -> None:
    at = ("standards", standard.number, 0)
    letter = registration_letter(standard.number)
    if standard.registration and letter and standard.registration[4] != letter:
        checker.add(
            at,
            "registration_letter",
            f"标准号 {standard.number} 对应的登记号字母应为 {letter}",
            f"a standard numbered {standard.number} is registered under the letter {letter}",
            column="registration",
            value=standard.registration,
        )
    if standard.replaced_by == standard.number:
        checker.add(
            at, "replaced_by_itself", "标准不能被自身代替", "a standard cannot replace itself", column="replaced_by"
        )
    if standard.status == "in_force" and standard.in_force_from is not None and standard.in_force_from > today:
        checker.add(
            at,
            "not_yet_in_force",
            "实施日期晚于今天，状态不能为“现行”",
            "it comes into force in the future, so its status cannot be “in force”",
            column="in_force_from",
            value=standard.in_force_from,
        )


def _in_order(checker: Checker, at: tuple[str, str, int], valid_from: date, valid_to: date) -> bool:
    if valid_from <= valid_to:
        return True
    checker.add(
        at,
        "dates",
        f"有效期止早于有效期起 {valid_from}",
        f"it ends before it begins on {valid_from}",
        column="valid_to",
        value=valid_to,
    )
    return False


def _moved(checker: Checker, at: tuple[str, str, int], column: str, before: str, after: str) -> None:
    if before != after:
        checker.add(
            at,
            "moved",
            f"该记录已登记在 {before} 名下，不能通过导入转到他处",
            f"this is registered under {before}; an import cannot move it elsewhere",
            column=column,
            value=after,
        )


def _certificate(checker: Checker, certificate: Certificate) -> None:
    at = ("certificates", certificate.number, 0)
    _in_order(checker, at, certificate.valid_from, certificate.valid_to)
    checker.resolves(at, "uscc", "enterprises", certificate.uscc)
    checker.resolves(at, "body_code", "bodies", certificate.body_code)
    before = checker.stored.certificates.get(certificate.number)
    if before is not None:
        _moved(checker, at, "uscc", before.uscc, certificate.uscc)


def _recognition(checker: Checker, recognition: Recognition) -> None:
    at = ("recognitions", recognition.number, 0)
    _in_order(checker, at, recognition.valid_from, recognition.valid_to)
    checker.resolves(at, "gtin", "products", recognition.gtin)
    before = checker.stored.recognitions.get(recognition.number)
    if before is not None:
        _moved(checker, at, "gtin", before.gtin, recognition.gtin)
    for path, names in PATH_EVIDENCE.items():
        for name in names:
            _evidence(checker, recognition, path, name)


def _evidence(checker: Checker, recognition: Recognition, path: str, name: str) -> None:
    at, value = ("recognitions", recognition.number, 0), getattr(recognition, name)
    shown = value.zh or value.en if isinstance(value, Bilingual) else value
    column = f"{name}.zh" if isinstance(value, Bilingual) else name
    if path == recognition.path and not shown:
        checker.add(
            at,
            "evidence_missing",
            "该认定路径必须填写这一证据",
            "this path of recognition requires this evidence",
            column=column,
        )
    if path != recognition.path and shown:
        checker.add(
            at,
            "evidence_of_another_path",
            "这是其他认定路径的证据，应留空（认定只走一条路径）",
            "this is evidence for another path and has to be blank: a recognition has one path",
            column=column,
            value=shown,
        )


def _product(checker: Checker, product: Product) -> None:
    at = ("products", product.gtin, 0)
    checker.resolves(at, "uscc", "enterprises", product.uscc)
    before = checker.stored.products.get(product.gtin)
    if before is not None:
        _moved(checker, at, "uscc", before.uscc, product.uscc)
    for number in product.standards:
        checker.resolves(at, "standards", "standards", number)
    for number in product.certificates:
        _own_certificate(checker, product, number)
    _complete(checker, product)
    for position, indicator in enumerate(checker.result.indicators.get(product.gtin, ())):
        _indicator(checker, ("indicators", product.gtin, position), indicator)
    for position, commitment in enumerate(checker.result.commitments.get(product.gtin, ())):
        _commitment(checker, ("commitments", product.gtin, position), commitment)
    for position, claim in enumerate(checker.result.claims.get(product.gtin, ())):
        _claim(checker, ("claims", product.gtin, position), claim)
    _recognitions(checker, product)


def _own_certificate(checker: Checker, product: Product, number: str) -> None:
    at = ("products", product.gtin, 0)
    if checker.resolves(at, "certificates", "certificates", number):
        holder = checker.result.certificates[number].uscc
        if holder != product.uscc:
            checker.add(
                at,
                "certificate_of_another",
                f"该证书属于 {holder}，不属于本产品的企业",
                f"this certificate belongs to {holder}, not to the product's enterprise",
                column="certificates",
                value=number,
            )


def _complete(checker: Checker, product: Product) -> None:
    """The records that every product needs for its page: an indicator, the first responsibility, a hotline."""
    at, gtin = ("products", product.gtin, 0), product.gtin
    if ("indicators", gtin) not in checker.file.unreadable and not checker.result.indicators.get(gtin):
        checker.add(at, "no_indicator", "产品至少需要一项指标", "a product needs at least one indicator")
    if ("commitments", gtin) in checker.file.unreadable:
        return
    kinds = {one.kind for one in checker.result.commitments.get(gtin, ())}
    if "first_responsibility" not in kinds:
        checker.add(
            at,
            "no_first_responsibility",
            "产品必须有“首负责任”承诺",
            "a product needs a commitment of first responsibility",
        )
    if "hotline" not in kinds:
        checker.add(at, "no_hotline", "产品必须有“热线”承诺", "a product needs a hotline among its commitments")


def _indicator(checker: Checker, at: tuple[str, str, int], indicator: Indicator) -> None:
    if indicator.direction == "text":
        _grades(checker, at, indicator)
        return
    spans = {}
    for name in ("product_value", "standard_value", "national_value", "benchmark_value"):
        text = getattr(indicator, name).zh
        value = span(text, indicator.unit)
        if value is not None and fits_direction(indicator.direction, value):
            spans[name] = value
        elif text and (name in {"product_value", "standard_value"} or any(one.isdigit() for one in text)):
            _unreadable(checker, at, indicator, name, text)
    product, standard = spans.get("product_value"), spans.get("standard_value")
    if product is not None and standard is not None and not meets(indicator.direction, product, standard):
        _not_met(checker, at, indicator)


def _unreadable(checker: Checker, at: tuple[str, str, int], indicator: Indicator, name: str, text: str) -> None:
    signs = {"ge": "≥ 30、30", "le": "≤ 30、30", "range": "30~50、±0.02、20±2"}[indicator.direction]
    checker.add(
        at,
        "value",
        f"指标“{indicator.name.zh}”的数值无法按所选方向解读，请写作 {signs}，单位填在“单位”列；文字指标的方向请选“文字”",
        f"the figure of “{indicator.name.zh}” cannot be read in this direction; write it as {signs}, "
        "with the unit in its own column; for words use the direction text",
        column=f"{name}.zh",
        value=text,
    )


def _not_met(checker: Checker, at: tuple[str, str, int], indicator: Indicator) -> None:
    product, standard, unit = indicator.product_value.zh, indicator.standard_value.zh, indicator.unit
    checker.add(
        at,
        "indicator_not_met",
        f"指标“{indicator.name.zh}”不符合本标准：产品值 {product}，标准值 {standard}（{unit or '无单位'}）",
        f"“{indicator.name.zh}” does not meet its own standard: product {product}, "
        f"standard {standard} ({unit or 'no unit'})",
        column="product_value.zh",
        value=product,
    )


def _grades(checker: Checker, at: tuple[str, str, int], indicator: Indicator) -> None:
    product, standard = indicator.product_value.zh, indicator.standard_value.zh
    if not (is_grade(product) and is_grade(standard)):
        return
    verdict = grade_meets(product, standard)
    if verdict is False:
        _not_met(checker, at, indicator)
    if verdict is None:
        checker.add(
            at,
            "grades",
            f"无法判断等级“{product}”是否优于“{standard}”，请改用数值和方向 ≥ 或 ≤",
            f"grades {product} and {standard} cannot be compared; use figures and a direction",
            column="product_value.zh",
            value=product,
        )


def _commitment(checker: Checker, at: tuple[str, str, int], commitment: Commitment) -> None:
    needed = {"hotline": ("phone",), "insurance": ("insurer", "policy")}.get(commitment.kind, ())
    for name in needed:
        value = getattr(commitment, name)
        if value in ("", Bilingual()):
            checker.add(
                at,
                "commitment_incomplete",
                "热线须填电话；质量保险须填保险人和保单号",
                "a hotline needs its telephone number, an insurance its insurer and policy number",
                column=f"{name}.zh" if isinstance(value, Bilingual) else name,
            )


def _claim(checker: Checker, at: tuple[str, str, int], claim: ProductClaim) -> None:
    if claim.kind != "carbon_footprint":
        return
    figure = span(claim.value, claim.unit)
    if figure is None or figure.low is None or figure.low < Decimal(0) or not claim.unit:
        checker.add(
            at,
            "carbon_footprint",
            "碳足迹须填数值和单位（如 2.31 和 kg CO₂e/件）",
            "a carbon footprint needs a figure and its unit (2.31, kg CO₂e per piece)",
            column="value",
            value=claim.value or None,
        )


def _recognitions(checker: Checker, product: Product) -> None:
    ordered = checker.by_gtin[product.gtin]
    for earlier, later in pairwise(ordered):
        if later.valid_from <= earlier.valid_to:
            checker.add(
                ("recognitions", later.number, 0),
                "overlap",
                f"与同一产品的认定 {earlier.number}（{earlier.valid_from} 至 {earlier.valid_to}）重叠",
                f"overlaps with recognition {earlier.number} of the same product "
                f"({earlier.valid_from} to {earlier.valid_to})",
                column="valid_from",
                value=later.valid_from,
            )
    for recognition in ordered:
        if recognition.path == "certification" and recognition.certificate:
            _check_certificate(checker, product, recognition)


def _check_certificate(checker: Checker, product: Product, recognition: Recognition) -> None:
    """The certificate of a recognition: a certificate of the product, of the brand's scheme or accepted, and valid."""
    at, number = ("recognitions", recognition.number, 0), recognition.certificate
    if not checker.resolves(at, "certificate", "certificates", number):
        return
    certificate = checker.result.certificates[number]
    problems = (
        (
            number not in product.certificates,
            "certificate_not_of_product",
            "该证书不在本产品的证书之列",
            "this certificate is not one of the product's certificates",
        ),
        (
            certificate.kind != "zhejiang_made" and not certificate.accepted,
            "certificate_kind",
            "认定须以“浙江制造”证书或被采信的证书为依据",
            "a recognition is based on a Zhejiang Made certificate or one accepted as evidence",
        ),
        (
            not certificate.valid_from <= recognition.valid_from <= certificate.valid_to,
            "certificate_not_valid",
            f"认定开始之日 {recognition.valid_from} 不在证书有效期 {certificate.valid_from} 至 {certificate.valid_to} 内",
            f"it begins on {recognition.valid_from}; the certificate is valid {certificate.valid_from} to {certificate.valid_to}",
        ),
    )
    for wrong, reason, zh, en in problems:
        if wrong:
            checker.add(at, reason, zh, en, column="certificate", value=number)
