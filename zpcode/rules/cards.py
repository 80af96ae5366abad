"""All cards, derived from registry, batches, decisions and journey events.

This is the only derivation of a card: the services that write cards and `fsck`, which checks them, call it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, Final

import msgspec

from zpcode.rules import journey
from zpcode.rules.batches.batch import Batch, BatchState
from zpcode.rules.journey import JourneyEvent
from zpcode.rules.notices import Names, ended_at, gtin_of, subject_text
from zpcode.rules.regions import region_name
from zpcode.rules.registry.industries import industry_name
from zpcode.rules.registry.records import Enterprise, Product, Recognition, Registry
from zpcode.rules.status import timelines
from zpcode.rules.status.layers import layers
from zpcode.rules.status.permissions import StatusChange
from zpcode.rules.status.records import decision
from zpcode.wire.calendar import iso, seconds
from zpcode.wire.card import (
    BatchCard,
    CertificateInfo,
    ClaimInfo,
    CommitmentInfo,
    EnterpriseInfo,
    IndicatorInfo,
    LotCard,
    NoticeInfo,
    NoticesCard,
    ProductCard,
    RecognitionInfo,
    StandardInfo,
    Standing,
    Timeline,
)
from zpcode.wire.vocabulary import Bilingual, Scope, State

_NOBODY: Final = EnterpriseInfo("", Bilingual(), "", Bilingual())
OLD_STOCK: Final = ("valid", "warned", "revoked")
"""How goods already made are shown after their recognition ended, from the best to the worst."""


def current_recognition(recognitions: Sequence[Recognition], today: date) -> Recognition | None:
    """The recognition that the card shows: the one in force, else the last that ended, else the next that begins.

    Recognitions of one product never overlap, so at most one is in force.
    """
    begun = [one for one in recognitions if one.valid_from <= today]
    if begun:
        return max(begun, key=lambda one: one.valid_to)
    return min(recognitions, key=lambda one: one.valid_from, default=None)


def product_card(registry: Registry, product: Product, recognitions: Sequence[Recognition], today: date) -> ProductCard:
    """The card of one product. `registry` has everything that the product refers to."""
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


def kept_card(card: ProductCard) -> ProductCard:
    """What a recovery keeps of a product card that Redis had: the validity of its recognition."""
    shown = card.recognition
    if shown is not None:
        shown = RecognitionInfo("", "", shown.valid_from, shown.valid_to, shown.old_stock)
    return ProductCard(card.gtin, Bilingual(), _NOBODY, shown, (), (), (), ())


def with_kept(derived: ProductCard | None, kept: ProductCard) -> ProductCard:
    """The card of a product whose registry records may be older than `kept`, a card that Redis had.

    Only Redis shows `kept`. So what the registry has stays, but nothing is better than `kept` shows: the validity of the
    recognition is what both agree on. A product that the registry does not have is lost.
    """
    if derived is None:
        return ProductCard(kept.gtin, Bilingual(), _NOBODY, None, (), (), (), (), lost=True)
    ours, theirs = derived.recognition, kept.recognition
    if ours is None or theirs is None:
        return msgspec.structs.replace(derived, recognition=None)
    both = msgspec.structs.replace(
        ours,
        valid_from=max(ours.valid_from, theirs.valid_from),
        valid_to=min(ours.valid_to, theirs.valid_to),
        old_stock=max(ours.old_stock, theirs.old_stock, key=OLD_STOCK.index),
    )
    return msgspec.structs.replace(derived, recognition=both)


def _shown(record: Any, info: Any) -> Any:
    """The fields of a record that the card has under the same names; dates as ISO text."""
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


def batch_card(
    batch: Batch, changes: Sequence[StatusChange], *, exceptions: bool, events: Sequence[JourneyEvent] = ()
) -> BatchCard:
    """The card of a batch from its row and all decisions about it and its ranges, in the order they were made.

    `exceptions` is True if there are decisions about single items. `events` are all events of the batch and its lot.
    """
    card = new_batch_card(batch)
    for scope in (Scope.BATCH, Scope.RANGE):
        card = with_decisions(card, scope, [change for change in changes if change.scope is scope])
    return with_events(msgspec.structs.replace(card, exceptions=exceptions), events)


def new_batch_card(batch: Batch) -> BatchCard:
    """The card of a batch from its row alone, without decisions and events.

    A reserved batch has no signing key on its card: the row's key may still be replaced until the file is complete.
    """
    return BatchCard(
        number=batch.number,
        gtin=batch.gtin,
        level=batch.level.value,
        quantity=batch.quantity,
        permutation_key=batch.permutation_key,
        check_key=batch.check_key,
        key_id="" if batch.state is BatchState.RESERVED else batch.key_id,
        lot=batch.lot,
        production_date=iso(batch.production_date),
        expiry_date=iso(batch.expiry_date),
        activated_at=seconds(batch.activated_at),
    )


# Deriving everything anew is slow for thousands of decisions. So a service derives the changed part; `batch_card` derives
# all parts.


def with_row(card: BatchCard | None, batch: Batch) -> BatchCard:
    """The card of a batch after a change of its row; decisions and events are those of `card` (None: no card yet)."""
    new = new_batch_card(batch)
    if card is None:
        return new
    return msgspec.structs.replace(
        new, timeline=card.timeline, ranges=card.ranges, exceptions=card.exceptions, journey=card.journey
    )


def with_decisions(card: BatchCard, scope: Scope, changes: Sequence[StatusChange]) -> BatchCard:
    """The card with all decisions of one scope (batch, range or code), in the order they were made.

    Decisions about the batch give its timeline, those about ranges its ranges. For decisions about single items the
    card only gets `exceptions`; each item has its own card.
    """
    if not changes:
        return card
    decisions, now = [decision(change) for change in changes], changes[-1].created_at
    match scope:
        case Scope.BATCH:
            return msgspec.structs.replace(card, timeline=timelines.timeline(decisions, now))
        case Scope.RANGE:
            return msgspec.structs.replace(card, ranges=layers(decisions, now))
        case Scope.CODE:
            return msgspec.structs.replace(card, exceptions=True)
    raise ValueError(scope)


def former_card(card: BatchCard) -> BatchCard:
    """What a recovery keeps of the card of a lost batch: its codes, without decisions and events."""
    return msgspec.structs.replace(card, timeline=Timeline(()), ranges=(), exceptions=False, journey=())


def lost_batch_card(
    number: int, former: BatchCard | None, changes: Sequence[StatusChange], *, exceptions: bool
) -> BatchCard:
    """The card of a batch whose record is lost: which items it has, and the decisions about it.

    Only Redis shows the former card. So it has no check key, with which genuine codes could look forged, and no dates.
    """
    unknown = BatchCard(number, gtin="", level="", quantity=0, permutation_key=b"", check_key=b"")
    known = unknown if former is None else former
    card = BatchCard(
        number,
        known.gtin,
        known.level,
        known.quantity,
        known.permutation_key,
        check_key=b"",
        lot=known.lot,
        exceptions=exceptions,
        lost=True,
    )
    for scope in (Scope.BATCH, Scope.RANGE):
        card = with_decisions(card, scope, [change for change in changes if change.scope is scope])
    return card


def with_events(card: BatchCard, events: Sequence[JourneyEvent]) -> BatchCard:
    """The card with all events of the batch and its lot."""
    return msgspec.structs.replace(card, journey=journey.shown_events(events))


def standing(changes: Sequence[StatusChange]) -> Timeline:
    """The timeline of a registry record or an item from all decisions about it (at least one), in the order they were made.

    A card is never deleted: if no decision is in force or pending, its timeline has the state GOOD.
    """
    now = changes[-1].created_at
    timeline = timelines.timeline([decision(change) for change in changes], now)
    return timeline if timeline.standings else Timeline((Standing(State.GOOD, seconds(now)),))


def lot_card(
    gtin: str,
    lot: str,
    produced: date | None,
    expires: date | None,
    activated: datetime | None,
    events: Sequence[JourneyEvent] = (),
) -> LotCard:
    """The card of a lot with lot codes, with all its `events`.

    `activated` is when the first of its batches became active; None if none is active.
    """
    return LotCard(gtin, lot, iso(produced), iso(expires), seconds(activated), journey.shown_events(events))


def notices_card(published: Sequence[StatusChange], decisions: Sequence[StatusChange], names: Names) -> NoticesCard:
    """The card of these notices, in their order. `decisions` are all decisions about their targets."""
    about: dict[tuple[Scope, str], list[StatusChange]] = {}
    for one in decisions:
        about.setdefault((one.scope, one.target), []).append(one)
    return NoticesCard(tuple(_notice(one, about.get((one.scope, one.target), ()), names) for one in published))


def _notice(change: StatusChange, decisions: Sequence[StatusChange], names: Names) -> NoticeInfo:
    gtin = gtin_of(change, names)
    return NoticeInfo(
        number=change.notice,
        state=change.state,
        scope=change.scope,
        effective_at=seconds(change.effective_at),
        about=subject_text(change, gtin, names),
        reason=change.reason,
        note=change.note,
        decided_by=change.authority,
        gtin=gtin,
        ended_at=ended_at(change, decisions),
    )
