"""The journey of goods: record, withdraw and list events, and update the cards that show them.

Each function is one transaction. Locks are taken in the order lots, batches, audit log, card head, as in `zpcode.services.status.change`:
a reservation of a batch with a lot takes the lot's lock too, so that the batch's card has every event of the lot.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec

from zpcode.errors import Findings, NotFound, Text
from zpcode.rules import journey as rules
from zpcode.rules.access import Caller
from zpcode.rules.batches.batch import Batch
from zpcode.rules.cards import new_batch_card, with_events
from zpcode.rules.journey import EventRequest, JourneyEvent, Subject, Where
from zpcode.services.cards import events_of_batches, lot_cards
from zpcode.store import audit, batches, cards, journey, status
from zpcode.store.database.session import Connection, Engine, transaction
from zpcode.wire.card import BatchCard, LotCard, batch_key
from zpcode.wire.vocabulary import Scope

Reported = Sequence[tuple[Subject, EventRequest]]
_REFUSED: Final = Text("流转事件有误，未写入任何内容", "the events are not valid; nothing was written")


class RecordedEvents(NamedTuple):
    """The recorded events in the order of the request; `new` has the numbers of those that were not recorded before."""

    events: tuple[JourneyEvent, ...]
    new: frozenset[int]


class _Goods(NamedTuple):
    """The enterprise (USCC) of each subject, and the batches whose cards show their events; all are locked."""

    owners: Mapping[Subject, str]
    batches: Sequence[Batch]


def record(
    engine: Engine, subject: Subject, requests: Sequence[EventRequest], *, caller: Caller, now: datetime
) -> RecordedEvents:
    """Record events of one batch or lot, all or none.

    An event with the same content as a recorded one is not recorded again.

    Raises Forbidden, NotFound (no such batch or lot, or not within reach), Refused with every finding, Conflict (more
    than 500 events), Unavailable.
    """
    rules.may_record(caller)
    with transaction(engine) as connection:
        goods = _goods(connection, [subject], caller)
        if subject not in goods.owners:
            raise _unknown(subject)
        reported = [(subject, request) for request in requests]
        findings = rules.examine(requests, now, lambda number, field: f"/events/{number}/{field}")
        return _record(connection, goods, reported, findings, caller, now)


def record_all(
    engine: Engine,
    reported: Reported,
    findings: Findings,
    *,
    caller: Caller,
    now: datetime,
    where: Where,
    dry_run: bool,
) -> RecordedEvents:
    """Record events of many batches and lots, all or none; `findings` are those of the file.

    Raises as `record` does; a missing batch or lot is a finding. With `dry_run` everything is rolled back.
    """
    rules.may_record(caller)
    with transaction(engine) as connection:
        goods = _goods(connection, {subject for subject, _ in reported}, caller)
        findings.items += rules.examine([request for _, request in reported], now, where).items
        for number, (subject, _) in enumerate(reported):
            if subject not in goods.owners:
                text = _unknown(subject).text
                findings.add("subject", text.zh, text.en, where=where(number, "batch" if subject.batch else "lot"))
        recorded = _record(connection, goods, reported, findings, caller, now, where)
        if dry_run:
            connection.rollback()
        return recorded


def events(engine: Engine, subject: Subject, caller: Caller) -> list[JourneyEvent]:
    """All events of one batch or lot, in the order of recording. Raises NotFound, Unavailable."""
    with transaction(engine) as connection:
        if subject not in _owners(connection, [subject], caller):
            raise _unknown(subject)
        return journey.of(connection, [subject]).get(subject, [])


def withdraw(
    engine: Engine, subject: Subject, number: int, reason: str, *, caller: Caller, now: datetime
) -> JourneyEvent:
    """Withdraw an event, so that it no longer counts. A second withdrawal changes nothing.

    An event that was superseded by the withdrawn one stays superseded.

    Raises Forbidden, Refused (no reason), NotFound, Unavailable.
    """
    rules.may_record(caller)
    rules.check_reason(reason)
    with transaction(engine) as connection:
        goods = _goods(connection, [subject], caller)
        recorded = journey.of(connection, [subject]).get(subject, []) if subject in goods.owners else []
        event = next((one for one in recorded if one.id == number), None)
        if event is None:
            raise _unknown(subject)
        if event.withdrawn_at is not None:
            return event
        withdrawn = replace(event, withdrawn_at=now, withdrawn_by=caller.name, withdrawal=reason.strip())
        journey.withdraw(connection, number, by=caller.name, reason=withdrawn.withdrawal, at=now)
        detail = {"event": number, "reason": withdrawn.withdrawal}
        audit.append(
            connection, at=now, actor=caller.name, action="journey.withdraw", object_=subject.name, detail=detail
        )
        cards.put_cards(connection, _cards(connection, goods))
        return withdrawn


def _record(
    connection: Connection,
    goods: _Goods,
    reported: Reported,
    findings: Findings,
    caller: Caller,
    now: datetime,
    where: Where = lambda number, field: f"/events/{number}/{field}",
) -> RecordedEvents:
    findings.refuse(_REFUSED.zh, _REFUSED.en)
    recorded = journey.of(connection, goods.owners.keys())
    by_content: dict[tuple[object, ...], JourneyEvent] = {}
    order = []
    for subject, request in reported:
        event = rules.new_event(request, subject, goods.owners[subject], caller.name, now)
        order.append((subject, *event.content))
        by_content.setdefault(order[-1], event)
    present = {
        (event.subject, *event.content): event for history in recorded.values() for event in rules.on_record(history)
    }
    missing = {content: event for content, event in by_content.items() if content not in present}
    _check_superseded(
        recorded, [(number, by_content[content]) for number, content in enumerate(order) if content in missing], where
    )
    _check_limit(recorded, missing.values(), caller)
    new = dict(zip(missing, journey.add(connection, list(missing.values())), strict=True))
    if new:
        _audit(connection, list(new.values()), caller, now)
        cards.put_cards(connection, _cards(connection, goods))
    return RecordedEvents(
        tuple((present | new)[content] for content in order), frozenset(one.id for one in new.values())
    )


def _check_superseded(
    recorded: Mapping[Subject, Sequence[JourneyEvent]], events: Sequence[tuple[int, JourneyEvent]], where: Where
) -> None:
    """Raise Refused if an event supersedes one that does not exist or no longer counts."""
    findings, superseded = Findings(), set[int]()
    for number, event in events:
        if event.supersedes is None:
            continue
        standing = {event.id for event in rules.standing(recorded.get(event.subject, ()))}
        if event.supersedes not in standing or event.supersedes in superseded:
            findings.add(
                "supersedes", "该批次或批号没有这一有效事件，请核对编号",
                "this batch or lot has no such event that still counts; check its number",
                where=where(number, "supersedes"), value=event.supersedes,
            )  # fmt: skip
        superseded.add(event.supersedes)
    findings.refuse(_REFUSED.zh, _REFUSED.en)


def _check_limit(
    recorded: Mapping[Subject, Sequence[JourneyEvent]], new: Collection[JourneyEvent], caller: Caller
) -> None:
    for subject, number in Counter(event.subject for event in new).items():
        rules.check_number(recorded.get(subject, ()), number, subject, caller)


def _audit(connection: Connection, new: Sequence[JourneyEvent], caller: Caller, now: datetime) -> None:
    """One entry for each batch or lot, with its whole events."""
    by_subject: dict[Subject, list[dict[str, Any]]] = {}
    for event in new:
        by_subject.setdefault(event.subject, []).append(rules.audit_detail(event))
    for subject, details in by_subject.items():
        detail = {"events": details}
        audit.append(
            connection, at=now, actor=caller.name, action="journey.record", object_=subject.name, detail=detail
        )


def _goods(connection: Connection, subjects: Collection[Subject], caller: Caller) -> _Goods:
    """Lock and return the subjects within the caller's reach, and all batches whose cards show their events."""
    for subject in sorted(subjects):
        if not subject.batch:
            status.lock(connection, Scope.LOT, f"{subject.gtin}:{subject.lot}")
    owners = _owners(connection, subjects, caller)
    numbers = {subject.batch for subject in owners if subject.batch}
    numbers.update(journey.batches_of(connection, [subject for subject in owners if not subject.batch]))
    return _Goods(owners, batches.numbered(connection, numbers, lock=True))


def _owners(connection: Connection, subjects: Collection[Subject], caller: Caller) -> dict[Subject, str]:
    """The enterprise (USCC) of each subject that exists and is within the caller's reach."""
    owners: dict[Subject, str] = {}
    for batch in batches.numbered(connection, [subject.batch for subject in subjects if subject.batch]):
        if caller.reaches(batch.uscc, batch.region):
            owners[Subject(batch.number)] = batch.uscc
    for subject in subjects:
        if not subject.batch:
            owner = status.owner(connection, Scope.LOT, f"{subject.gtin}:{subject.lot}")
            if owner is not None and caller.reaches(owner.uscc, owner.region):
                owners[subject] = owner.uscc
    return owners


def _cards(connection: Connection, goods: _Goods) -> dict[str, bytes]:
    """The cards that show the events of these goods. The caller has the lock of the audit log, like all writers of cards."""
    by_batch = events_of_batches(connection, goods.batches)
    keys = {batch.number: batch_key(batch.number) for batch in goods.batches}
    stored = {card.key: card.body for card in cards.fetch(connection, list(keys.values()))}
    shown: dict[str, BatchCard | LotCard] = {}
    for batch in goods.batches:
        key = keys[batch.number]
        card = msgspec.msgpack.decode(stored[key], type=BatchCard) if key in stored else new_batch_card(batch)
        shown[key] = with_events(card, by_batch[batch.number])
    lots = {(subject.gtin, subject.lot) for subject in goods.owners if not subject.batch}
    lots |= {(batch.gtin, batch.lot) for batch in goods.batches if batch.lot}
    shown |= lot_cards(connection, lots)
    return {key: msgspec.msgpack.encode(card) for key, card in shown.items()}


def _unknown(subject: Subject) -> NotFound:
    name = f"{subject.batch}" if subject.batch else f"{subject.gtin} {subject.lot}"
    return NotFound(Text(f"没有这个批次、批号或事件：{name}", f"there is no such batch, lot or event: {name}"))
