"""Decisions about codes, and the feed of them: for regulators within their region, for enterprises about their own."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from zpcode.api import examples, views
from zpcode.api.fields import Long
from zpcode.api.http.authentication import TAKES_JSON, Asking
from zpcode.api.http.context import Here
from zpcode.api.http.documented import BODIED, KNOWN, answers, page
from zpcode.api.http.paging import AfterNumber, AfterText, Limit
from zpcode.api.http.paging import page as paged
from zpcode.api.http.refusals import Malformed
from zpcode.api.schemas import ChangeView, DecisionOrder, EnterpriseView, MadeView, PageView
from zpcode.errors import Finding, Text
from zpcode.rules.status.permissions import StatusRequest
from zpcode.services.registry import listing
from zpcode.services.status import change as status
from zpcode.wire.vocabulary import Bilingual, Scope

router = APIRouter(prefix="/v1")
_BOTH = Text("scope 与 target 须同时给出，且不与 after 同用", "scope and target go together, and not with after")


@router.post(
    "/status-changes",
    tags=["status"],
    summary="Flag, suspend, recall, revoke or restore",
    status_code=201,
    response_model=MadeView,
    dependencies=[TAKES_JSON],
    responses={
        **answers(201, "Decided", examples.MADE,
                  slugs=(*BODIED, *KNOWN, "forbidden", "not-found", "conflict", "refused")),
        200: {"description": "In force already; nothing was recorded anew",
              "content": {"application/json": {"example": examples.MADE | {"repeated": True}}}},
    },
)  # fmt: skip
def decide(decision: DecisionOrder, asking: Asking, here: Here, response: Response) -> MadeView:
    """Every scan process shows it within a second of the commit."""
    note = Bilingual(decision.note.zh, decision.note.en)
    request = StatusRequest(**dict(decision) | {"note": note})
    made = status.change_and_project(here.engine, here.redis, request, caller=asking, now=here.clock())
    if made.change.repeated:
        response.status_code = 200
    return views.made(made.change, projected=made.projected)


@router.get(
    "/status-changes",
    tags=["status"],
    summary="Follow status changes",
    response_model=PageView[ChangeView],
    responses=page(examples.CHANGE, examples.CHANGE["id"], slugs=(*KNOWN, "not-found", "refused")),
)
def list_changes(
    asking: Asking,
    here: Here,
    after: AfterNumber = None,
    limit: Limit = 50,
    scope: Annotated[
        Scope | None, Query(description="With target: all decisions about it.", examples=["batch"])
    ] = None,
    target: Annotated[
        Long | None, Query(description="What it is about, as in a decision.", examples=[str(examples.NUMBER)])
    ] = None,
) -> PageView[ChangeView]:
    """Decisions within your reach in the order they were made; or, with scope and target, the history of one target."""
    if scope is None and target is None:
        found = status.feed(here.engine, after or 0, limit, asking)
        return paged(found, limit, views.change, lambda change: change.id)
    if scope is None or target is None or after is not None:
        raise Malformed((Finding("together", _BOTH, "?scope" if scope is None else "?target"),))
    history = status.history(here.engine, scope, target, asking)
    return PageView(items=[views.change(one) for one in history], next=None)


@router.get(
    "/enterprises",
    tags=["registry"],
    summary="List enterprises",
    response_model=PageView[EnterpriseView],
    responses=page(examples.ENTERPRISE, examples.USCC),
)
def list_enterprises(asking: Asking, here: Here, after: AfterText = "", limit: Limit = 50) -> PageView[EnterpriseView]:
    """The enterprises within your reach, by their 统一社会信用代码: an enterprise sees itself."""
    found = listing.enterprises(here.engine, asking, after, limit)
    return paged(found, limit, views.enterprise, lambda enterprise: enterprise.uscc)
