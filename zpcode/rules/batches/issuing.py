"""Whether a batch of codes may be issued, with all reasons against it at once.

Deny by default: codes are only for products whose brand recognition is in force today.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from zpcode.errors import Finding, Findings, Forbidden, Text
from zpcode.rules.access import Caller, Role
from zpcode.rules.batches.batch import MAX_QUANTITY, Activation, BatchRequest
from zpcode.wire.calendar import iso, today
from zpcode.wire.card import LotCard, ProductCard, Timeline
from zpcode.wire.gs1 import is_gtin14, is_lot
from zpcode.wire.payload import Level
from zpcode.wire.vocabulary import Scope, State

# Codes with these states would be shown with a warning, so they are not issued.
STOPPING: Final = frozenset({State.ENDED, State.SUSPENDED, State.RECALLED, State.REVOKED})
_SCOPES: Final = {
    Scope.LOT: ("批次（批号）", "the lot"),
    Scope.PRODUCT: ("产品", "the product"),
    Scope.RECOGNITION: ("品牌认定", "the recognition"),
    Scope.CERTIFICATE: ("认证证书", "the certificate"),
    Scope.STANDARD: ("标准", "the standard"),
    Scope.ENTERPRISE: ("企业", "the enterprise"),
}
_STATES: Final = {
    State.ENDED: ("已终止", "ended"),
    State.SUSPENDED: ("已冻结", "suspended"),
    State.RECALLED: ("已召回", "recalled"),
    State.REVOKED: ("已撤销", "revoked"),
}


@dataclass(frozen=True, slots=True)
class Facts:
    """The stored facts on which a request for a batch depends.

    `product` is None if the GTIN is unknown or not within the caller's reach; the two are not distinguished.
    `timelines` are those of every record that applies to the product, as (scope, target, timeline). `quota` None: no
    limit. `used` is the number of item codes in all batches of the enterprise. `lot` is the card from earlier lot codes
    of the same lot.
    """

    product: ProductCard | None
    timelines: tuple[tuple[Scope, str, Timeline], ...] = ()
    quota: int | None = None
    used: int = 0
    lot: LotCard | None = None


def may_ask(caller: Caller) -> None:
    """Raise Forbidden unless the caller is an enterprise or the operator: only these issue and activate codes."""
    if caller.role is Role.REGULATOR:
        text = Text("监管账号不能生成或激活码", "a regulator does not issue or activate codes")
        raise Forbidden(text, (Finding("role", text),))


def may_issue(request: BatchRequest, facts: Facts, formats: Mapping[str, int | None], now: datetime) -> None:
    """Return if the batch may be issued at `now` (aware), else raise Refused with every reason.

    `formats` has the name of each file format and the largest number of codes in a file of it, None for no limit.

    Reasons: quantity, format, lot, lot_dates, dates, activation, foreign_gtin, not_in_force, quota.
    """
    day, findings = today(now), Findings()
    _check_quantity(request, findings)
    _check_format(request, formats, findings)
    _check_activation(request, findings)
    _check_dates(request, day, findings)
    _check_lot(request, facts.lot, findings)
    if facts.product is None or not is_gtin14(request.gtin):
        findings.add(
            "foreign_gtin",
            "该商品条码（GTIN）不在您名下，请核对；产品须先登记",
            "this GTIN is not one of your products; check it: a product has to be registered first",
            where="/gtin",
            value=request.gtin,
        )
    else:
        _check_standing(facts, int(now.timestamp()), findings)
        _check_recognition(facts.product, iso(day), findings)
        _check_quota(request, facts, findings)
    findings.refuse("不能生成这批码", "this batch of codes is refused")


def _check_quantity(request: BatchRequest, findings: Findings) -> None:
    if not 1 <= request.quantity <= MAX_QUANTITY:
        findings.add(
            "quantity",
            "数量须在 1 与 1000000000 之间",
            "the quantity must be between 1 and 1 000 000 000",
            where="/quantity",
            value=request.quantity,
        )


def _check_format(request: BatchRequest, formats: Mapping[str, int | None], findings: Findings) -> None:
    if request.format not in formats:
        names = ", ".join(formats)
        findings.add(
            "format",
            f"未知的文件格式，可选：{names}",
            f"unknown format; choose from {names}",
            where="/format",
            value=request.format,
        )
    elif (limit := formats[request.format]) is not None and request.codes > limit:
        findings.add(
            "quantity",
            f"{request.format} 文件最多容纳 {limit} 个码",
            f"a file in the format {request.format} has at most {limit} codes",
            where="/quantity",
            value=request.quantity,
        )


def _check_activation(request: BatchRequest, findings: Findings) -> None:
    if request.level is Level.PRODUCT and request.activation is Activation.MANUAL:
        findings.add(
            "activation",
            "品类码不能单独激活，请用 on_issue",
            "a product code is not activated by batch; use on_issue",
            where="/activation",
            value=request.activation,
        )


def _check_dates(request: BatchRequest, day: date, findings: Findings) -> None:
    produced, expires = request.production_date, request.expiry_date
    if produced is not None and produced > day:
        findings.add(
            "dates",
            "生产日期晚于今天",
            "the production date is in the future",
            where="/production_date",
            value=produced,
        )
    if expires is not None and expires < day:
        findings.add("dates", "有效期已过", "the expiry date has passed", where="/expiry_date", value=expires)
    if produced is not None and expires is not None and produced > expires:
        findings.add(
            "dates",
            f"生产日期 {produced} 晚于有效期 {expires}",
            f"the production date {produced} is after the expiry date {expires}",
            where="/expiry_date",
            value=expires,
        )


def _check_lot(request: BatchRequest, earlier: LotCard | None, findings: Findings) -> None:
    if request.lot == "" and request.level is not Level.LOT:
        return
    if request.lot == "":
        findings.add("lot", "批次码必须有批号", "a lot code needs a lot", where="/lot", value="")
    # Spreadsheet programs would read a cell that begins with - or . as a formula or a number.
    elif not is_lot(request.lot) or request.lot[0] in "-.":
        findings.add(
            "lot",
            "批号应为 1 至 20 个 0-9 A-Z . - 字符，且以字母或数字开头",
            "a lot is 1 to 20 of 0-9 A-Z . - and begins with a letter or a digit",
            where="/lot",
            value=request.lot,
        )
    elif (
        request.level is Level.LOT
        and earlier is not None
        and _dates(request) != (earlier.production_date, earlier.expiry_date)
    ):
        findings.add(
            "lot_dates",
            f"该批号已有批次码，日期为 {earlier.production_date or '无'} 至 {earlier.expiry_date or '无'}，须一致",
            f"this lot has codes already, dated {earlier.production_date or 'none'} to {earlier.expiry_date or 'none'}; "
            "the dates must agree",
            where="/lot",
            value=request.lot,
        )


def _dates(request: BatchRequest) -> tuple[str, str]:
    return iso(request.production_date), iso(request.expiry_date)


def _check_standing(facts: Facts, now: int, findings: Findings) -> None:
    for scope, target, timeline in facts.timelines:
        standing = timeline.at(now)
        if standing is None or standing.state not in STOPPING:
            continue
        (zh, en), (state_zh, state_en) = _SCOPES[scope], _STATES[standing.state]
        notice = (f"（公告 {standing.notice}）", f" (notice {standing.notice})") if standing.notice else ("", "")
        findings.add(
            "not_in_force",
            f"{zh} {target} {state_zh}{notice[0]}，不能生成码",
            f"{en} {target} is {state_en}{notice[1]}: no codes",
            where="/gtin",
            value=target,
        )


def _check_recognition(product: ProductCard, day: str, findings: Findings) -> None:
    recognition = product.recognition
    if recognition is None:
        findings.add(
            "not_in_force",
            "该产品没有品牌认定",
            "the product has no brand recognition",
            where="/gtin",
            value=product.gtin,
        )
        return
    if not recognition.valid_from <= day <= recognition.valid_to:
        findings.add(
            "not_in_force",
            f"品牌认定 {recognition.number} 今天不在有效期内（{recognition.valid_from} 至 {recognition.valid_to}）",
            f"recognition {recognition.number} is not in force today ({recognition.valid_from} to {recognition.valid_to})",
            where="/gtin",
            value=recognition.number,
        )
    for certificate in product.certificates:
        if certificate.number == recognition.certificate and not certificate.valid_from <= day <= certificate.valid_to:
            findings.add(
                "not_in_force",
                f"认定所依据的证书 {certificate.number} 今天不在有效期内（{certificate.valid_from} 至 {certificate.valid_to}）",
                f"certificate {certificate.number}, on which the recognition is based, is not in force today "
                f"({certificate.valid_from} to {certificate.valid_to})",
                where="/gtin",
                value=certificate.number,
            )


def _check_quota(request: BatchRequest, facts: Facts, findings: Findings) -> None:
    if facts.quota is None or not request.level.is_item or facts.used + request.quantity <= facts.quota:
        return
    left = max(facts.quota - facts.used, 0)
    findings.add(
        "quota",
        f"超出单品码额度：共 {facts.quota}，已用 {facts.used}，还剩 {left}",
        f"over the quota of item codes: {facts.quota} in all, {facts.used} used, {left} left",
        where="/quantity",
        value=request.quantity,
    )
