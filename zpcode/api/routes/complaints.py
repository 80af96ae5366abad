"""Complaints over HTTP: offices handle them, enterprises read those about their products."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from zpcode.api import examples
from zpcode.api.fields import Short, Words
from zpcode.api.http.authentication import TAKES_JSON, CallerDep
from zpcode.api.http.context import AuthorityDep
from zpcode.api.http.documented import WITH_BODY, WITH_KEY, page_responses, responses_of
from zpcode.api.http.paging import AfterNumber, Limit, page_of
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
    "over_budget": False,
    "photos": [f"/v1/complaints/{NUMBER}/photos/1"],
}
COMPLAINT: Final[dict[str, Any]] = SUMMARY | {"contact": "138 0000 0000", "events": [_EVENT]}
STEP: Final[dict[str, Any]] = {"step": "answer", "text": "已约谈企业，将为您更换。", "region": ""}


class StepOrder(BaseModel):
    """A step to be taken. docs/complaints.md lists which step can follow which."""

    model_config = ConfigDict(json_schema_extra={"example": STEP}, extra="forbid")
    step: ComplaintStep = Field(description="assign, start, answer, close or refuse.")
    text: Words = Field("", description="Public: the complainant reads it. Required to answer, close and refuse.")
    region: Short = Field(
        "", description="Only of assign: the GB/T 2260 code of the office, within your region or above it."
    )


class ComplaintEventView(BaseModel):
    """A step that was taken. The complainant reads it too."""

    model_config = ConfigDict(json_schema_extra={"example": _EVENT})
    step: ComplaintStep
    at: datetime
    authority: BilingualView
    text: str
    region: str | None = Field(description="The region of the office that the complaint was assigned to.")


class ComplaintView(BaseModel):
    """A complaint in a list."""

    model_config = ConfigDict(json_schema_extra={"example": SUMMARY})
    number: str
    received_at: datetime
    state: ComplaintState
    kind: ComplaintKind
    description: str = Field(description="The complainant's text, at most 2000 characters; it may contain anything.")
    place: str = Field(description="The place of purchase, as written.")
    language: str
    code: str = Field(description="As scanned or typed; it may not be a 浙品码 code.")
    proof: ComplaintProof = Field(description="The result of checking its seal when the complaint was received.")
    gtin: str | None = Field(description="The GTIN of the product that the code names, if it is registered.")
    enterprise: str | None = Field(description="The USCC of that product's enterprise.")
    region: str = Field(
        description="The region of the office that handles it (GB/T 2260); 330000 if the code names no registered product."
    )
    region_name: BilingualView
    ended_at: datetime | None
    over_budget: bool = Field(
        description="It came when there were too many about its code, or in all. Its photos were not stored."
    )
    photos: list[str] = Field(description="The addresses of the photos; empty for an enterprise.")


class WholeComplaintView(ComplaintView):
    """A complaint with its steps. `contact` is null if none was given, if it was deleted, and for an enterprise."""

    model_config = ConfigDict(json_schema_extra={"example": COMPLAINT})
    contact: str | None
    events: list[ComplaintEventView]


router = APIRouter(prefix="/v1", tags=["complaints"])
Number = Annotated[Short, Path(description="The complaint's number.", examples=[NUMBER])]


@router.get(
    "/complaints",
    summary="List complaints",
    response_model=PageView[ComplaintView],
    responses=page_responses(SUMMARY, 17),
)
def list_complaints(
    caller: CallerDep,
    authority: AuthorityDep,
    after: AfterNumber = None,
    limit: Limit = 50,
    state: Annotated[
        ComplaintState | None, Query(description="Only complaints in this state.", examples=["received"])
    ] = None,
) -> PageView[ComplaintView]:
    """The complaints within your reach, newest first. An enterprise gets those about its products."""
    listed = complaints.listing(authority.engine, caller, state=state, before=after, limit=limit)
    return page_of(listed, limit, lambda one: ComplaintView(**_summary(one)), lambda one: one.id)


@router.get(
    "/complaints/{number}",
    summary="Get a complaint",
    response_model=WholeComplaintView,
    responses=responses_of(200, "The complaint", COMPLAINT, slugs=(*WITH_KEY, "not-found")),
)
def get_complaint(number: Number, caller: CallerDep, authority: AuthorityDep) -> WholeComplaintView:
    """The complaint with its steps; for those who handle it, with the contact."""
    return _whole(complaints.read(authority.engine, number, caller))


@router.post(
    "/complaints/{number}/steps",
    summary="Assign, answer, close or refuse",
    status_code=201,
    response_model=WholeComplaintView,
    dependencies=[TAKES_JSON],
    responses=responses_of(201, "Taken", COMPLAINT,
                      slugs=(*WITH_BODY, *WITH_KEY, "forbidden", "not-found", "conflict", "refused")),
)  # fmt: skip
def take_step(number: Number, order: StepOrder, caller: CallerDep, authority: AuthorityDep) -> WholeComplaintView:
    """For regulators within their region, and the operator. The text is public and cannot be withdrawn."""
    request = StepRequest(order.step, order.text, order.region)
    return _whole(complaints.take(authority.engine, number, request, caller=caller, now=authority.clock()))


@router.get(
    "/complaints/{number}/photos/{position}",
    summary="Download a photo of a complaint",
    response_class=Response,
    responses={
        **responses_of(200, "The photo", None, slugs=(*WITH_KEY, "forbidden", "not-found")),
        200: {"description": "The photo, encoded again, without metadata",
              "content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}, "example": "(JPEG)"}}},
    },
)  # fmt: skip
def get_photo(
    number: Number,
    position: Annotated[int, Path(ge=1, le=3, description="1 to 3.", examples=[1])],
    caller: CallerDep,
    authority: AuthorityDep,
) -> Response:
    """Only for those who handle the complaint. Caches do not store it."""
    return Response(complaints.photo(authority.engine, number, position, caller), media_type="image/jpeg")


def _summary(complaint: Complaint) -> dict[str, Any]:
    place = region_name(complaint.region)
    return {
        "number": complaint.number,
        "received_at": complaint.received_at,
        "state": complaint.state,
        "kind": complaint.form.kind,
        "description": complaint.form.description,
        "place": complaint.form.place,
        "language": complaint.form.language,
        "code": complaint.form.code,
        "proof": complaint.proof,
        "gtin": complaint.gtin,
        "enterprise": complaint.uscc,
        "region": complaint.region,
        "region_name": BilingualView(zh=place.zh, en=place.en),
        "ended_at": complaint.ended_at,
        "over_budget": complaint.over_budget,
        "photos": [f"/v1/complaints/{complaint.number}/photos/{one}" for one in range(1, complaint.photos + 1)],
    }


def _whole(complaint: Complaint) -> WholeComplaintView:
    events = [_event(event) for event in complaint.events]
    return WholeComplaintView(**_summary(complaint), contact=complaint.form.contact or None, events=events)


def _event(event: ComplaintEvent) -> ComplaintEventView:
    authority = BilingualView(zh=event.authority.zh, en=event.authority.en)
    return ComplaintEventView(
        step=event.step, at=event.at, authority=authority, text=event.text, region=event.region or None
    )
