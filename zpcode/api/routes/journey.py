"""The goods' journey over HTTP: report, list and withdraw events of a batch of codes or a lot of goods.

An enterprise reports events of its own batches and lots. Regulators and the operator read within their reach.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from zpcode.api import examples, schemas, views
from zpcode.api.fields import BatchNumber, Gtin, Short
from zpcode.api.http.authentication import TAKES_JSON, CallerDep
from zpcode.api.http.context import AuthorityDep
from zpcode.api.http.documented import WITH_BODY, WITH_KEY, responses_of
from zpcode.api.schemas import EventsOrder, EventsView, JourneyEventView, Withdrawal
from zpcode.rules.access import Caller
from zpcode.rules.journey import EventRequest, Subject, standing
from zpcode.services.journey import events
from zpcode.wire.vocabulary import Bilingual

router = APIRouter(prefix="/v1", tags=["journey"])
Number = Annotated[BatchNumber, Path(description="The batch's number.", examples=[examples.NUMBER])]
Product = Annotated[Gtin, Path(description="The product's GTIN.", examples=[examples.GTIN])]
Lot = Annotated[Short, Path(description="The lot (AI 10) as in a batch of codes.", examples=["L20261121"])]
EventNumber = Annotated[int, Path(ge=1, le=2**63 - 1, description="The event's id.", examples=[812])]
_REPORTED = responses_of(
    200, "The events as they are on record", {"items": [examples.EVENT], "recorded": 1},
    slugs=(*WITH_BODY, *WITH_KEY, "forbidden", "not-found", "refused", "conflict"),
)  # fmt: skip
_LISTED = responses_of(
    200, "Every event", {"items": [examples.EVENT], "recorded": 0}, slugs=(*WITH_KEY, "not-found", "invalid-request")
)
_WITHDRAWN = responses_of(
    200, "The event, withdrawn", examples.EVENT | {"shown": False},
    slugs=(*WITH_BODY, *WITH_KEY, "forbidden", "not-found", "refused"),
)  # fmt: skip


@router.post(
    "/batches/{number}/events",
    summary="Report events of a batch",
    response_model=EventsView,
    dependencies=[TAKES_JSON],
    responses=_REPORTED,
)
def report_batch_events(number: Number, order: EventsOrder, caller: CallerDep, authority: AuthorityDep) -> EventsView:
    """Records one to a hundred events, all or none. An event that is on record with the same content is not recorded again.

    Every scan of the batch's item codes shows them, together with the events of its lot.
    """
    return _report(Subject(number), order, caller, authority)


@router.get("/batches/{number}/events", summary="List a batch's events", response_model=EventsView, responses=_LISTED)
def list_batch_events(number: Number, caller: CallerDep, authority: AuthorityDep) -> EventsView:
    """All events of the batch without those of its lot, in the order of recording, with withdrawn and superseded ones."""
    return _list(Subject(number), caller, authority)


@router.post(
    "/batches/{number}/events/{event}/withdraw",
    summary="Withdraw an event of a batch",
    response_model=JourneyEventView,
    dependencies=[TAKES_JSON],
    responses=_WITHDRAWN,
)
def withdraw_batch_event(
    number: Number, event: EventNumber, order: Withdrawal, caller: CallerDep, authority: AuthorityDep
) -> JourneyEventView:
    """The event stays on record with the reason and is no longer shown. An event that it superseded is not shown again."""
    return _withdraw(Subject(number), event, order, caller, authority)


@router.post(
    "/lots/{gtin}/{lot}/events",
    summary="Report events of a lot",
    response_model=EventsView,
    dependencies=[TAKES_JSON],
    responses=_REPORTED,
)
def report_lot_events(
    gtin: Product, lot: Lot, order: EventsOrder, caller: CallerDep, authority: AuthorityDep
) -> EventsView:
    """As for a batch. At least one batch of codes has to name the lot; scans of every batch of the lot show the events."""
    return _report(Subject(gtin=gtin, lot=lot), order, caller, authority)


@router.get("/lots/{gtin}/{lot}/events", summary="List a lot's events", response_model=EventsView, responses=_LISTED)
def list_lot_events(gtin: Product, lot: Lot, caller: CallerDep, authority: AuthorityDep) -> EventsView:
    """All events of the lot in the order of recording, with withdrawn and superseded ones."""
    return _list(Subject(gtin=gtin, lot=lot), caller, authority)


@router.post(
    "/lots/{gtin}/{lot}/events/{event}/withdraw",
    summary="Withdraw an event of a lot",
    response_model=JourneyEventView,
    dependencies=[TAKES_JSON],
    responses=_WITHDRAWN,
)
def withdraw_lot_event(
    gtin: Product, lot: Lot, event: EventNumber, order: Withdrawal, caller: CallerDep, authority: AuthorityDep
) -> JourneyEventView:
    """The event stays on record with the reason and is no longer shown. An event that it superseded is not shown again."""
    return _withdraw(Subject(gtin=gtin, lot=lot), event, order, caller, authority)


def _report(subject: Subject, order: EventsOrder, caller: Caller, authority: AuthorityDep) -> EventsView:
    requests = [_request(event) for event in order.events]
    recorded = events.record(authority.engine, subject, requests, caller=caller, now=authority.clock())
    authority.project()
    all_events = events.events(authority.engine, subject, caller)
    return views.events(recorded.events, all_events, len(recorded.new))


def _request(event: schemas.EventOrder) -> EventRequest:
    return EventRequest(
        kind=event.kind,
        at=event.at,
        place=_text(event.place),
        by=_text(event.by),
        note=_text(event.note),
        document=event.document,
        supersedes=event.supersedes,
    )


def _text(text: schemas.EventText) -> Bilingual:
    return Bilingual(text.zh, text.en)


def _list(subject: Subject, caller: Caller, authority: AuthorityDep) -> EventsView:
    all_events = events.events(authority.engine, subject, caller)
    return views.events(all_events, all_events)


def _withdraw(
    subject: Subject, number: int, order: Withdrawal, caller: Caller, authority: AuthorityDep
) -> JourneyEventView:
    event = events.withdraw(authority.engine, subject, number, order.reason, caller=caller, now=authority.clock())
    authority.project()
    return views.event(event, shown=bool(standing([event])))
