"""Journey events in the table `trace_event`. Its trigger allows no change of an event except its withdrawal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, insert, or_, select, tuple_, update

from zpcode.rules.journey import JourneyEvent, Subject
from zpcode.store.tables.codes import batch, trace_event
from zpcode.wire.vocabulary import Bilingual


def add(connection: Connection, events: Sequence[JourneyEvent]) -> list[JourneyEvent]:
    """Insert events and return them with their numbers, in the same order."""
    if not events:
        return []
    statement = insert(trace_event).returning(trace_event.c.id, sort_by_parameter_order=True)
    numbers = connection.execute(statement, [_values(event) for event in events]).scalars()
    return [replace(event, id=number) for event, number in zip(events, numbers, strict=True)]


def _values(event: JourneyEvent) -> dict[str, Any]:
    return {
        "batch": event.subject.batch or None,
        "gtin": event.subject.gtin or None,
        "lot": event.subject.lot,
        "uscc": event.uscc,
        "kind": event.kind,
        "at": event.at,
        "precision": event.precision,
        "place": msgspec.to_builtins(event.place),
        "done_by": msgspec.to_builtins(event.by),
        "note": msgspec.to_builtins(event.note),
        "document": event.document,
        "supersedes": event.supersedes,
        "recorded_by": event.recorded_by,
        "recorded_at": event.recorded_at,
    }


def withdraw(connection: Connection, number: int, *, by: str, reason: str, at: datetime) -> None:
    """Mark an event as withdrawn, with the reason."""
    values = {"withdrawn_at": at, "withdrawn_by": by, "withdrawal": reason}
    connection.execute(update(trace_event).where(trace_event.c.id == number).values(values))


def of(connection: Connection, subjects: Collection[Subject]) -> Mapping[Subject, list[JourneyEvent]]:
    """All events of these subjects, in the order of recording, including withdrawn and superseded ones."""
    by_subject: defaultdict[Subject, list[JourneyEvent]] = defaultdict(list)
    if subjects:
        query = select(trace_event).where(_among(subjects)).order_by(trace_event.c.id)
        for row in connection.execute(query):
            event = _event(row)
            by_subject[event.subject].append(event)
    return by_subject


def _among(subjects: Collection[Subject]) -> ColumnElement[bool]:
    numbers = [one.batch for one in subjects if one.batch]
    lots = [(one.gtin, one.lot) for one in subjects if not one.batch]
    columns = trace_event.c
    parts = [columns.batch.in_(numbers)] if numbers else []
    return or_(*parts, tuple_(columns.gtin, columns.lot).in_(lots)) if lots else parts[0]


def batches_of(connection: Connection, lots: Collection[Subject]) -> list[int]:
    """The numbers of the batches that name these lots, in order."""
    if not lots:
        return []
    named = tuple_(batch.c.gtin, batch.c.lot).in_([(one.gtin, one.lot) for one in lots])
    return list(connection.execute(select(batch.c.number).where(named).order_by(batch.c.number)).scalars())


def every(connection: Connection) -> Iterator[JourneyEvent]:
    """All events in the order in which they were recorded, read 500 at a time."""
    query = select(trace_event).order_by(trace_event.c.id).execution_options(yield_per=500)
    for row in connection.execute(query):
        yield _event(row)


def _event(row: Row[Any]) -> JourneyEvent:
    return JourneyEvent(
        id=row.id,
        subject=Subject(row.batch or 0, row.gtin or "", row.lot),
        uscc=row.uscc,
        kind=row.kind,
        at=row.at,
        precision=row.precision,
        place=msgspec.convert(row.place, Bilingual),
        by=msgspec.convert(row.done_by, Bilingual),
        note=msgspec.convert(row.note, Bilingual),
        document=row.document,
        supersedes=row.supersedes,
        recorded_by=row.recorded_by,
        recorded_at=row.recorded_at,
        withdrawn_at=row.withdrawn_at,
        withdrawn_by=row.withdrawn_by,
        withdrawal=row.withdrawal,
    )
