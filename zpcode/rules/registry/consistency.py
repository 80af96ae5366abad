"""Whether the records of a registry agree with each other. Pure: the day is passed in.

The registry checked is the one that would result (`records.merged`): a file may bring a certificate only,
and end a recognition that rests on it. Findings are placed at the row that brought them about.
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
from zpcode.rules.registry.reader import Draft
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
    """One run over a file: the file, what is known already, what results, and the findings so far."""

    draft: Draft
    known: Registry
    whole: Registry
    findings: Findings
    by_gtin: dict[str, list[Recognition]] = field(init=False)

    def __post_init__(self) -> None:
        found: defaultdict[str, list[Recognition]] = defaultdict(list)
        for one in sorted(self.whole.recognitions.values(), key=lambda one: (one.valid_from, one.number)):
            found[one.gtin].append(one)
        self.by_gtin = found

    def note(
        self, at: tuple[str, str, int], reason: str, zh: str, en: str, *, column: str = "", value: object = None
    ) -> None:
        """Add a finding at a record: its row in the file, or, where the file has none, its name in the registry."""
        place = self.draft.places.get(at)
        where = place.where(column) if place is not None else f"{at[0]}/{at[1]}"
        self.findings.add(reason, zh, en, where=where, value=value)

    def exists(self, plural: str, key: str) -> bool:
        """Whether a record is known, in the file, or in the file with a mistake of its own."""
        return key in getattr(self.whole, plural) or (plural, key) in self.draft.spoiled

    def resolves(self, at: tuple[str, str, int], column: str, plural: str, key: str) -> bool:
        """Whether a reference leads somewhere; notes it where it does not."""
        if not self.exists(plural, key):
            self.note(
                at,
                "unresolved",
                "所引用的记录不在本文件中，也不在登记库中",
                "refers to a record that is neither in this file nor in the registry",
                column=column,
                value=key,
            )
        return key in getattr(self.whole, plural)


def check(checker: Checker, today: date) -> None:
    """All rules over the file's records and the products they reach."""
    file = checker.draft.registry
    for standard in file.standards.values():
        _standard(checker, standard, today)
    for certificate in file.certificates.values():
        _certificate(checker, certificate)
    for recognition in file.recognitions.values():
        _recognition(checker, recognition)
    for plural in ("indicators", "commitments", "claims"):
        for gtin in getattr(file, plural):
            checker.resolves((plural, gtin, 0), "gtin", "products", gtin)
    for gtin in reached(checker.draft, checker.whole):
        product = checker.whole.products.get(gtin)
        if product is not None:
            _product(checker, product)


def reached(draft: Draft, whole: Registry) -> Iterable[str]:
    """GTINs of the products whose rules a file can touch, in order."""
    file = draft.registry
    gtins = {*file.products, *file.indicators, *file.commitments, *file.claims}
    gtins |= {one.gtin for one in file.recognitions.values()}
    gtins |= {one.gtin for one in whole.recognitions.values() if one.certificate in file.certificates}
    gtins |= {
        one.gtin for one in whole.products.values() if any(number in file.certificates for number in one.certificates)
    }
    return sorted(gtins)


def _standard(checker: Checker, standard: Standard, today: date) -> None:
    at = ("standards", standard.number, 0)
    letter = registration_letter(standard.number)
    if standard.registration and letter and standard.registration[4] != letter:
        checker.note(
            at,
            "registration_letter",
            f"标准号 {standard.number} 对应的登记号字母应为 {letter}",
            f"a standard numbered {standard.number} is registered under the letter {letter}",
            column="registration",
            value=standard.registration,
        )
    if standard.replaced_by == standard.number:
        checker.note(
            at, "replaced_by_itself", "标准不能被自身代替", "a standard cannot replace itself", column="replaced_by"
        )
    if standard.status == "in_force" and standard.in_force_from is not None and standard.in_force_from > today:
        checker.note(
            at,
            "not_yet_in_force",
            "实施日期在将来，状态不能为“现行”",
            "it comes into force in the future, so its status cannot be in force",
            column="in_force_from",
            value=standard.in_force_from,
        )


def _in_order(checker: Checker, at: tuple[str, str, int], valid_from: date, valid_to: date) -> bool:
    if valid_from <= valid_to:
        return True
    checker.note(
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
        checker.note(
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
    before = checker.known.certificates.get(certificate.number)
    if before is not None:
        _moved(checker, at, "uscc", before.uscc, certificate.uscc)


def _recognition(checker: Checker, recognition: Recognition) -> None:
    at = ("recognitions", recognition.number, 0)
    _in_order(checker, at, recognition.valid_from, recognition.valid_to)
    checker.resolves(at, "gtin", "products", recognition.gtin)
    before = checker.known.recognitions.get(recognition.number)
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
        checker.note(
            at,
            "evidence_missing",
            "该认定路径必须填写这一证据",
            "this path of recognition needs this evidence",
            column=column,
        )
    if path != recognition.path and shown:
        checker.note(
            at,
            "evidence_of_another_path",
            "这是其他认定路径的证据，应留空（认定只走一条路径）",
            "this is evidence of another path and has to be blank: a recognition has one path",
            column=column,
            value=shown,
        )


def _product(checker: Checker, product: Product) -> None:
    at = ("products", product.gtin, 0)
    checker.resolves(at, "uscc", "enterprises", product.uscc)
    before = checker.known.products.get(product.gtin)
    if before is not None:
        _moved(checker, at, "uscc", before.uscc, product.uscc)
    for number in product.standards:
        checker.resolves(at, "standards", "standards", number)
    for number in product.certificates:
        _own_certificate(checker, product, number)
    _complete(checker, product)
    for position, indicator in enumerate(checker.whole.indicators.get(product.gtin, ())):
        _indicator(checker, ("indicators", product.gtin, position), indicator)
    for position, commitment in enumerate(checker.whole.commitments.get(product.gtin, ())):
        _commitment(checker, ("commitments", product.gtin, position), commitment)
    for position, claim in enumerate(checker.whole.claims.get(product.gtin, ())):
        _claim(checker, ("claims", product.gtin, position), claim)
    _recognitions(checker, product)


def _own_certificate(checker: Checker, product: Product, number: str) -> None:
    at = ("products", product.gtin, 0)
    if checker.resolves(at, "certificates", "certificates", number):
        holder = checker.whole.certificates[number].uscc
        if holder != product.uscc:
            checker.note(
                at,
                "certificate_of_another",
                f"该证书属于 {holder}，不属于本产品的企业",
                f"this certificate belongs to {holder}, not to the product's enterprise",
                column="certificates",
                value=number,
            )


def _complete(checker: Checker, product: Product) -> None:
    """The blocks a scan must always show: at least one indicator, the first responsibility, a hotline."""
    at, gtin = ("products", product.gtin, 0), product.gtin
    if ("indicators", gtin) not in checker.draft.spoiled and not checker.whole.indicators.get(gtin):
        checker.note(at, "no_indicator", "产品至少需要一项指标", "a product needs at least one indicator")
    if ("commitments", gtin) in checker.draft.spoiled:
        return
    kinds = {one.kind for one in checker.whole.commitments.get(gtin, ())}
    if "first_responsibility" not in kinds:
        checker.note(
            at,
            "no_first_responsibility",
            "产品必须有“首负责任”承诺",
            "a product needs a commitment of first responsibility",
        )
    if "hotline" not in kinds:
        checker.note(at, "no_hotline", "产品必须有“热线”承诺", "a product needs a hotline among its commitments")


def _indicator(checker: Checker, at: tuple[str, str, int], indicator: Indicator) -> None:
    if indicator.direction == "text":
        _grades(checker, at, indicator)
        return
    spans = {}
    for name in ("product_value", "standard_value", "national_value", "benchmark_value"):
        text = getattr(indicator, name).zh
        found = span(text, indicator.unit)
        if found is not None and fits_direction(indicator.direction, found):
            spans[name] = found
        elif text and (name in {"product_value", "standard_value"} or any(one.isdigit() for one in text)):
            _unreadable(checker, at, indicator, name, text)
    product, standard = spans.get("product_value"), spans.get("standard_value")
    if product is not None and standard is not None and not meets(indicator.direction, product, standard):
        _not_met(checker, at, indicator)


def _unreadable(checker: Checker, at: tuple[str, str, int], indicator: Indicator, name: str, text: str) -> None:
    signs = {"ge": "≥ 30、30", "le": "≤ 30、30", "range": "30~50、±0.02、20±2"}[indicator.direction]
    checker.note(
        at,
        "value",
        f"指标“{indicator.name.zh}”的数值无法按方向读取，请写作 {signs}，单位填在“单位”列；文字请用方向“文字”",
        f"the figure of “{indicator.name.zh}” cannot be read in this direction; write it as {signs}, "
        "with the unit in its own column; for words use the direction text",
        column=f"{name}.zh",
        value=text,
    )


def _not_met(checker: Checker, at: tuple[str, str, int], indicator: Indicator) -> None:
    product, standard, unit = indicator.product_value.zh, indicator.standard_value.zh, indicator.unit
    checker.note(
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
        checker.note(
            at,
            "grades",
            f"无法判断等级“{product}”是否优于“{standard}”，请改用数值和方向 ≥ 或 ≤",
            f"whether grade {product} is better than {standard} cannot be told; use figures and a direction",
            column="product_value.zh",
            value=product,
        )


def _commitment(checker: Checker, at: tuple[str, str, int], commitment: Commitment) -> None:
    needed = {"hotline": ("phone",), "insurance": ("insurer", "policy")}.get(commitment.kind, ())
    for name in needed:
        value = getattr(commitment, name)
        if value in ("", Bilingual()):
            checker.note(
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
        checker.note(
            at,
            "carbon_footprint",
            "碳足迹须填数值和单位（如 2.31,kg CO₂e/件）",
            "a carbon footprint needs a figure and its unit (2.31, kg CO₂e per piece)",
            column="value",
            value=claim.value or None,
        )


def _recognitions(checker: Checker, product: Product) -> None:
    ordered = checker.by_gtin[product.gtin]
    for earlier, later in pairwise(ordered):
        if later.valid_from <= earlier.valid_to:
            checker.note(
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
            _rests_on(checker, product, recognition)


def _rests_on(checker: Checker, product: Product, recognition: Recognition) -> None:
    """The certificate a recognition rests on: one of the product's, of the brand's scheme or accepted, in time."""
    at, number = ("recognitions", recognition.number, 0), recognition.certificate
    if not checker.resolves(at, "certificate", "certificates", number):
        return
    certificate = checker.whole.certificates[number]
    problems = (
        (
            number not in product.certificates,
            "certificate_not_of_product",
            "该证书不在本产品的证书之列",
            "this certificate is not among the product's",
        ),
        (
            certificate.kind != "zhejiang_made" and not certificate.accepted,
            "certificate_kind",
            "认定须以“浙江制造”证书或被采信的证书为依据",
            "a recognition rests on a Zhejiang Made certificate or one accepted as evidence",
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
            checker.note(at, reason, zh, en, column="certificate", value=number)
