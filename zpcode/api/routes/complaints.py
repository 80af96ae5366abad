"""Complaints over HTTP: handled by the offices they lie with, read by the enterprises they are about."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from zpcode.api import examples
from zpcode.api.fields import Short, Words
from zpcode.api.http.authentication import TAKES_JSON, Asking
from zpcode.api.http.context import Here
from zpcode.api.http.documented import BODIED, KNOWN, answers, page
from zpcode.api.http.paging import AfterNumber, Limit
from zpcode.api.http.paging import page as paged
from zpcode.api.schemas import BilingualView, PageView
from zpcode.rules.complaints.complaint import (
    Complaint,
    ComplaintEvent,
    ComplaintKind,
    ComplaintProof,
    ComplaintState,
    ComplaintStep,
    StepRequest,
)
from zpcode.rules.regions import region_name
from zpcode.services import complaints

NUMBER: Final = "TS-20261121-7K3Q9D2"
_EVENT: Final[dict[str, Any]] = {
    "step": "answer",
    "at": "2026-11-22T03:00:00Z",
    "authority": {"zh": "余杭区市场监督管理局", "en": "Yuhang District Administration for Market Regulation"},
    "text": "已约谈企业，将为您更换。",
    "region": None,
}
SUMMARY: Final[dict[str, Any]] = {
    "number": NUMBER,
    "received_at": "2026-11-21T04:00:00Z",
    "state": "answered",
    "kind": "quality",
    "description": "螺纹一拧就断。",
    "place": "余杭区五金市场",
    "language": "zh-CN",
    "code": f"/01/{examples.GTIN}/21/04JQ7M2X9TBK",
    "proof": "unsealed",
    "gtin": examples.GTIN,
    "enterprise": examples.USCC,
    "region": "330110",
    "region_name": {"zh": "浙江省杭州市余杭区", "en": "Yuhang District, Hangzhou, Zhejiang"},
    "ended_at": None,
    "photos": [f"/v1/complaints/{NUMBER}/photos/1"],
}
COMPLAINT: Final[dict[str, Any]] = SUMMARY | {"contact": "138 0000 0000", "events": [_EVENT]}
STEP: Final[dict[str, Any]] = {"step": "answer", "text": "已约谈企业，将为您更换。", "region": ""}


class StepOrder(BaseModel):
    """A step to be taken. docs/complaints.md tells which can follow which."""

    model_config = ConfigDict(json_schema_extra={"example": STEP}, extra="forbid")
    step: ComplaintStep = Field(description="assign, start, answer, close or refuse.")
    text: Words = Field("", description="Public: whoever complained reads it. Needed to answer, close and refuse.")
    region: Short = Field("", description="assign: the office's GB/T 2260 code, within yours or around it.")


class ComplaintEventView(BaseModel):
    """A step that was taken, as whoever complained may read it too."""

    model_config = ConfigDict(json_schema_extra={"example": _EVENT})
    step: ComplaintStep
    at: datetime
    authority: BilingualView
    text: str
    region: str | None = Field(description="Where an assignment went.")


class ComplaintView(BaseModel):
    """A complaint as it is listed."""

    model_config = ConfigDict(json_schema_extra={"example": SUMMARY})
    number: str
    received_at: datetime
    state: ComplaintState
    kind: ComplaintKind
    description: str = Field(
        description="What whoever complained wrote, at most 2000 characters; it may hold anything."
    )
    place: str = Field(description="Where it was bought, as written.")
    language: str
    code: str = Field(description="As scanned or typed; it may be no code of ours.")
    proof: ComplaintProof = Field(description="What its seal was worth when the complaint came in.")
    gtin: str | None = Field(description="The product the code claims, where it is registered.")
    enterprise: str | None = Field(description="USCC of that product's enterprise.")
    region: str = Field(description="The office it lies with (GB/T 2260); 330000 where no product is known.")
    region_name: BilingualView
    ended_at: datetime | None
    photos: list[str] = Field(description="Where to get them; none for an enterprise.")


class WholeComplaintView(ComplaintView):
    """A complaint with its steps. `contact` is null where none was given, it was deleted, or you are an enterprise."""

    model_config = ConfigDict(json_schema_extra={"example": COMPLAINT})
    contact: str | None
    events: list[ComplaintEventView]


router = APIRouter(prefix="/v1", tags=["complaints"])
Number = Annotated[Short, Path(description="The complaint's number.", examples=[NUMBER])]


@router.get(
    "/complaints",
    summary="List complaints",
    response_model=PageView[ComplaintView],
    responses=page(SUMMARY, 17),
)
def list_complaints(
    asking: Asking,
    here: Here,
    after: AfterNumber = None,
    limit: Limit = 50,
    state: Annotated[
        ComplaintState | None, Query(description="Only those in this state.", examples=["received"])
    ] = None,
) -> PageView[ComplaintView]:
    """Those within your reach, newest first: an enterprise sees what is said of its products."""
    found = complaints.listing(here.engine, asking, state=state, before=after, limit=limit)
    return paged(found, limit, lambda one: ComplaintView(**_summary(one)), lambda one: one.id)


@router.get(
    "/complaints/{number}",
    summary="Look at a complaint",
    response_model=WholeComplaintView,
    responses=answers(200, "The complaint", COMPLAINT, slugs=(*KNOWN, "not-found")),
)
def get_complaint(number: Number, asking: Asking, here: Here) -> WholeComplaintView:
    """With its steps, and, for those who handle it, the contact."""
    return _whole(complaints.read(here.engine, number, asking))


@router.post(
    "/complaints/{number}/steps",
    summary="Assign, answer, close or refuse",
    status_code=201,
    response_model=WholeComplaintView,
    dependencies=[TAKES_JSON],
    responses=answers(201, "Taken", COMPLAINT,
                      slugs=(*BODIED, *KNOWN, "forbidden", "not-found", "conflict", "refused")),
)  # fmt: skip
def take_step(number: Number, order: StepOrder, asking: Asking, here: Here) -> WholeComplaintView:
    """Regulators within their region, and the operator. Its words are public; they cannot be taken back."""
    request = StepRequest(order.step, order.text, order.region)
    return _whole(complaints.take(here.engine, number, request, caller=asking, now=here.clock()))


@router.get(
    "/complaints/{number}/photos/{position}",
    summary="Fetch a photo of a complaint",
    response_class=Response,
    responses={
        **answers(200, "The photo", None, slugs=(*KNOWN, "forbidden", "not-found")),
        200: {"description": "The photo, encoded anew, without metadata",
              "content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}, "example": "(JPEG)"}}},
    },
)  # fmt: skip
def get_photo(
    number: Number,
    position: Annotated[int, Path(ge=1, le=3, description="1 to 3.", examples=[1])],
    asking: Asking,
    here: Here,
) -> Response:
    """Only for those who handle the complaint; never kept by caches."""
    return Response(complaints.photo(here.engine, number, position, asking), media_type="image/jpeg")


def _summary(found: Complaint) -> dict[str, Any]:
    place = region_name(found.region)
    return {
        "number": found.number,
        "received_at": found.received_at,
        "state": found.state,
        "kind": found.form.kind,
        "description": found.form.description,
        "place": found.form.place,
        "language": found.form.language,
        "code": found.form.code,
        "proof": found.proof,
        "gtin": found.gtin,
        "enterprise": found.uscc,
        "region": found.region,
        "region_name": BilingualView(zh=place.zh, en=place.en),
        "ended_at": found.ended_at,
        "photos": [f"/v1/complaints/{found.number}/photos/{one}" for one in range(1, found.photos + 1)],
    }


def _whole(found: Complaint) -> WholeComplaintView:
    events = [_event(event) for event in found.events]
    return WholeComplaintView(**_summary(found), contact=found.form.contact or None, events=events)


def _event(event: ComplaintEvent) -> ComplaintEventView:
    authority = BilingualView(zh=event.authority.zh, en=event.authority.en)
    return ComplaintEventView(
        step=event.step, at=event.at, authority=authority, text=event.text, region=event.region or None
    )
