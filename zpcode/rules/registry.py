"""What an import changes, and what a scan shows of a product: the registry's two products. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

import msgspec

from zpcode.rules.industries import industry_name
from zpcode.rules.records import Enterprise, Product, Recognition, Registry
from zpcode.rules.regions import region_name
from zpcode.rules.sheets import SHEETS, Sheet
from zpcode.wire.card import (
    CertificateInfo,
    ClaimInfo,
    CommitmentInfo,
    EnterpriseInfo,
    IndicatorInfo,
    ProductCard,
    RecognitionInfo,
    StandardInfo,
)

NEW: Final = "new"
CHANGED: Final = "changed"
UNCHANGED: Final = "unchanged"
REMOVED: Final = "removed"


@dataclass(frozen=True, slots=True)
class Change:
    """One record that an import adds, changes or (in a product's lists) removes.

    `entity` is the sheet's plural, `key` the record's, with `#position` in a list counted from 1; `fields`
    holds (field, old, new) of a changed record.
    """

    entity: str
    key: str
    kind: str
    fields: tuple[tuple[str, Any, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Count:
    """How many records of a file are new, changed, unchanged; and how many it removes from lists."""

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    removed: int = 0


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did, or with `dry_run` would do. `cards` are the GTINs whose card changed."""

    dry_run: bool
    counts: dict[str, Count]
    changes: tuple[Change, ...]
    cards: tuple[str, ...] = field(default=())


def changes(known: Registry, file: Registry) -> tuple[dict[str, Count], tuple[Change, ...]]:
    """The counts of each sheet, and every record that does not stay as it is, in the order of the sheets."""
    counts: dict[str, Count] = {}
    found: list[Change] = []
    for sheet in SHEETS:
        all_of_sheet = list(_of_sheet(sheet, known, file))
        kinds = [change.kind for change in all_of_sheet]
        counts[sheet.plural] = Count(*(kinds.count(kind) for kind in (NEW, CHANGED, UNCHANGED, REMOVED)))
        found += [change for change in all_of_sheet if change.kind != UNCHANGED]
    return counts, tuple(found)


def _of_sheet(sheet: Sheet, known: Registry, file: Registry) -> Iterator[Change]:
    before, after = getattr(known, sheet.plural), getattr(file, sheet.plural)
    for key, record in after.items():
        if not sheet.listed:
            yield _change(sheet.plural, key, before.get(key), record)
            continue
        old = before.get(key, ())
        for position in range(max(len(old), len(record))):
            pair = (rows[position] if position < len(rows) else None for rows in (old, record))
            yield _change(sheet.plural, f"{key}#{position + 1}", *pair)


def _change(entity: str, key: str, before: Any, after: Any) -> Change:
    if before is None:
        return Change(entity, key, NEW)
    if after is None:
        return Change(entity, key, REMOVED)
    names = (name for name in after.__struct_fields__ if getattr(before, name) != getattr(after, name))
    fields = tuple((name, plain(getattr(before, name)), plain(getattr(after, name))) for name in names)
    return Change(entity, key, CHANGED, fields) if fields else Change(entity, key, UNCHANGED)


def plain(value: Any) -> Any:
    """A field's value as JSON has it: dates as text, two languages as an object, for reports and the audit log."""
    return msgspec.to_builtins(value)


def current_recognition(recognitions: Sequence[Recognition], today: date) -> Recognition | None:
    """The recognition a scan goes by: the one in force; else the last to end of those begun; else the next.

    Recognitions of one product never overlap, so at most one is in force.
    """
    begun = [one for one in recognitions if one.valid_from <= today]
    if begun:
        return max(begun, key=lambda one: one.valid_to)
    return min(recognitions, key=lambda one: one.valid_from, default=None)


def product_card(registry: Registry, product: Product, recognitions: Sequence[Recognition], today: date) -> ProductCard:
    """The card of one product from a registry that holds everything it refers to."""
    recognition = current_recognition(recognitions, today)
    return ProductCard(
        gtin=product.gtin,
        name=product.name,
        enterprise=_enterprise(registry.enterprises[product.uscc]),
        recognition=None if recognition is None else _shown(recognition, RecognitionInfo),
        standards=tuple(_shown(registry.standards[number], StandardInfo) for number in product.standards),
        certificates=tuple(_certificate(registry, number) for number in product.certificates),
        indicators=tuple(_indicator(one) for one in registry.indicators.get(product.gtin, ())),
        commitments=tuple(_shown(one, CommitmentInfo) for one in registry.commitments.get(product.gtin, ())),
        claims=tuple(_shown(one, ClaimInfo) for one in registry.claims.get(product.gtin, ())),
        brand=product.brand,
        model=product.model,
        category=product.category,
        tier=product.tier,
        picture=None if product.image_developed is None else product.image_developed.picture,
        mark=None if product.mark_developed is None else product.mark_developed.picture,
    )


def _shown(record: Any, info: Any) -> Any:
    """A record's fields that the card has under the same names; dates as ISO text."""
    values = {name: getattr(record, name) for name in info.__struct_fields__ if hasattr(record, name)}
    return info(**{name: _text(value) for name, value in values.items()})


def _text(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else "" if value is None else value


def _enterprise(enterprise: Enterprise) -> EnterpriseInfo:
    return EnterpriseInfo(
        uscc=enterprise.uscc,
        name=enterprise.name,
        region=enterprise.region,
        region_name=region_name(enterprise.region),
        industry_name=industry_name(enterprise.industry),
        address=enterprise.address,
        phone=enterprise.phone,
        website=enterprise.website,
        story=enterprise.story,
    )


def _certificate(registry: Registry, number: str) -> CertificateInfo:
    certificate = registry.certificates[number]
    return CertificateInfo(
        number=number,
        kind=certificate.kind,
        body=registry.bodies[certificate.body_code].name,
        body_code=certificate.body_code,
        rule=certificate.rule,
        valid_from=certificate.valid_from.isoformat(),
        valid_to=certificate.valid_to.isoformat(),
        accepted=certificate.accepted,
    )


def _indicator(indicator: Any) -> IndicatorInfo:
    return IndicatorInfo(
        name=indicator.name,
        direction=indicator.direction,
        product=indicator.product_value,
        standard=indicator.standard_value,
        national=indicator.national_value,
        benchmark=indicator.benchmark_value,
        unit=indicator.unit,
        method=indicator.method,
        report=indicator.report,
    )
