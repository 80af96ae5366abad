"""Decisions about codes, and the feed of decisions: for regulators within their region, for enterprises about their own."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from zpcode.api import examples, views
from zpcode.api.fields import Long
from zpcode.api.http.authentication import TAKES_JSON, CallerDep
from zpcode.api.http.context import AuthorityDep
from zpcode.api.http.documented import WITH_BODY, WITH_KEY, page_responses, responses_of
from zpcode.api.http.paging import AfterNumber, AfterText, Limit, page_of
from zpcode.api.http.refusals import Malformed
from zpcode.api.schemas import ChangeView, DecisionOrder, EnterpriseView, MadeView, PageView
from zpcode.errors import Finding, Text
from zpcode.rules.status.permissions import StatusRequest
from zpcode.services.registry import listing
from zpcode.services.status import change as status
from zpcode.wire.vocabulary import Bilingual, Scope

router = APIRouter(prefix="/v1")
_BOTH = Text(
    "scope 与 target 须同时给出，且不能与 after 同时使用", "send scope and target together, and not with after"
)


@router.post(
    "/status-changes",
    tags=["status"],
    summary="Flag, suspend, recall, revoke or restore",
    status_code=201,
    response_model=MadeView,
    dependencies=[TAKES_JSON],
    responses={
        **responses_of(201, "Decided", examples.MADE,
                  slugs=(*WITH_BODY, *WITH_KEY, "forbidden", "not-found", "conflict", "refused")),
        200: {"description": "In force already; nothing was recorded",
              "content": {"application/json": {"example": examples.MADE | {"repeated": True}}}},
    },
)  # fmt: skip
def decide(decision: DecisionOrder, caller: CallerDep, authority: AuthorityDep, response: Response) -> MadeView:
    """Every scan process shows it within a second of the commit."""
    note = Bilingual(decision.note.zh, decision.note.en)
    request = StatusRequest(**dict(decision) | {"note": note})
    made = status.change_and_project(authority.engine, authority.redis, request, caller=caller, now=authority.clock())
    if made.change.repeated:
        response.status_code = 200
    return views.made(made.change, projected=made.projected)


@router.get(
    "/status-changes",
    tags=["status"],
    summary="Follow status changes",
    response_model=PageView[ChangeView],
    responses=page_responses(examples.CHANGE, examples.CHANGE["id"], slugs=(*WITH_KEY, "not-found", "refused")),
)
def list_changes(
    caller: CallerDep,
    authority: AuthorityDep,
    after: AfterNumber = None,
    limit: Limit = 50,
    scope: Annotated[
        Scope | None, Query(description="Together with target: all decisions about that target.", examples=["batch"])
    ] = None,
    target: Annotated[
        Long | None, Query(description="The target, written as in a decision.", examples=[str(examples.NUMBER)])
    ] = None,
) -> PageView[ChangeView]:
    """The decisions within your reach in the order in which they were made; with scope and target, those about one target."""
    if scope is None and target is None:
        changes = status.feed(authority.engine, after or 0, limit, caller)
        return page_of(changes, limit, views.change, lambda change: change.id)
    if scope is None or target is None or after is not None:
        raise Malformed((Finding("together", _BOTH, "?scope" if scope is None else "?target"),))
    history = status.history(authority.engine, scope, target, caller)
    return PageView(items=[views.change(one) for one in history], next=None)


@router.get(
    "/enterprises",
    tags=["registry"],
    summary="List enterprises",
    response_model=PageView[EnterpriseView],
    responses=page_responses(examples.ENTERPRISE, examples.USCC),
)
def list_enterprises(
    caller: CallerDep, authority: AuthorityDep, after: AfterText = "", limit: Limit = 50
) -> PageView[EnterpriseView]:
    """The enterprises within your reach, by USCC (统一社会信用代码). An enterprise gets itself."""
    enterprises = listing.enterprises(authority.engine, caller, after, limit)
    return page_of(enterprises, limit, views.enterprise, lambda enterprise: enterprise.uscc)
