"""The goods' journey over HTTP: events of a batch of codes or a lot of goods, reported, listed, taken back.

An enterprise reports of its own batches and lots; regulators and the operator read within their reach.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from zpcode.api import examples, schemas, views
from zpcode.api.fields import BatchNumber, Gtin, Short
from zpcode.api.http.authentication import TAKES_JSON, Asking
from zpcode.api.http.context import Here
from zpcode.api.http.documented import BODIED, KNOWN, answers
from zpcode.api.schemas import EventsOrder, EventsView, JourneyEventView, Withdrawal
from zpcode.rules.access import Caller
from zpcode.rules.journey import EventRequest, Subject, standing
from zpcode.services.journey import events
from zpcode.wire.vocabulary import Bilingual

router = APIRouter(prefix="/v1", tags=["journey"])
Number = Annotated[BatchNumber, Path(description="The batch's number.", examples=[examples.NUMBER])]
Product = Annotated[Gtin, Path(description="The product's GTIN.", examples=[examples.GTIN])]
Lot = Annotated[Short, Path(description="The lot, AI 10, as a batch of codes names it.", examples=["L20261121"])]
EventNumber = Annotated[int, Path(ge=1, le=2**63 - 1, description="The event's id.", examples=[812])]
_REPORTED = answers(
    200, "The events as they are on record", {"items": [examples.EVENT], "recorded": 1},
    slugs=(*BODIED, *KNOWN, "forbidden", "not-found", "refused", "conflict"),
)  # fmt: skip
_LISTED = answers(
    200, "Every event", {"items": [examples.EVENT], "recorded": 0}, slugs=(*KNOWN, "not-found", "invalid-request")
)
_WITHDRAWN = answers(
    200, "The event, withdrawn", examples.EVENT | {"shown": False},
    slugs=(*BODIED, *KNOWN, "forbidden", "not-found", "refused"),
)  # fmt: skip


@router.post(
    "/batches/{number}/events",
    summary="Report events of a batch",
    response_model=EventsView,
    dependencies=[TAKES_JSON],
    responses=_REPORTED,
)
def report_batch_events(number: Number, order: EventsOrder, asking: Asking, here: Here) -> EventsView:
    """One to a hundred events, all or none; what is on record word for word is not recorded again.

    Every scan of the batch's item codes shows them, together with those of its lot.
    """
    return _report(Subject(number), order, asking, here)


@router.get("/batches/{number}/events", summary="List a batch's events", response_model=EventsView, responses=_LISTED)
def list_batch_events(number: Number, asking: Asking, here: Here) -> EventsView:
    """All of the batch itself, withdrawn and superseded ones too, in the order in which they were recorded."""
    return _list(Subject(number), asking, here)


@router.post(
    "/batches/{number}/events/{event}/withdraw",
    summary="Withdraw an event of a batch",
    response_model=JourneyEventView,
    dependencies=[TAKES_JSON],
    responses=_WITHDRAWN,
)
def withdraw_batch_event(
    number: Number, event: EventNumber, order: Withdrawal, asking: Asking, here: Here
) -> JourneyEventView:
    """It stays on record with the reason and is shown no more. What it had superseded does not come back."""
    return _withdraw(Subject(number), event, order, asking, here)


@router.post(
    "/lots/{gtin}/{lot}/events",
    summary="Report events of a lot",
    response_model=EventsView,
    dependencies=[TAKES_JSON],
    responses=_REPORTED,
)
def report_lot_events(gtin: Product, lot: Lot, order: EventsOrder, asking: Asking, here: Here) -> EventsView:
    """As for a batch. A lot is known once a batch of codes names it; every such batch, also a later one, shows them."""
    return _report(Subject(gtin=gtin, lot=lot), order, asking, here)


@router.get("/lots/{gtin}/{lot}/events", summary="List a lot's events", response_model=EventsView, responses=_LISTED)
def list_lot_events(gtin: Product, lot: Lot, asking: Asking, here: Here) -> EventsView:
    """All of the lot itself, withdrawn and superseded ones too, in the order in which they were recorded."""
    return _list(Subject(gtin=gtin, lot=lot), asking, here)


@router.post(
    "/lots/{gtin}/{lot}/events/{event}/withdraw",
    summary="Withdraw an event of a lot",
    response_model=JourneyEventView,
    dependencies=[TAKES_JSON],
    responses=_WITHDRAWN,
)
def withdraw_lot_event(
    gtin: Product, lot: Lot, event: EventNumber, order: Withdrawal, asking: Asking, here: Here
) -> JourneyEventView:
    """It stays on record with the reason and is shown no more. What it had superseded does not come back."""
    return _withdraw(Subject(gtin=gtin, lot=lot), event, order, asking, here)


def _report(subject: Subject, order: EventsOrder, caller: Caller, here: Here) -> EventsView:
    requests = [_request(event) for event in order.events]
    found = events.record(here.engine, subject, requests, caller=caller, now=here.clock())
    here.project()
    known = events.events(here.engine, subject, caller)
    return views.events(found.events, known, len(found.new))


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


def _list(subject: Subject, caller: Caller, here: Here) -> EventsView:
    known = events.events(here.engine, subject, caller)
    return views.events(known, known)


def _withdraw(subject: Subject, number: int, order: Withdrawal, caller: Caller, here: Here) -> JourneyEventView:
    event = events.withdraw(here.engine, subject, number, order.reason, caller=caller, now=here.clock())
    here.project()
    return views.event(event, shown=bool(standing([event])))
