"""What anybody may read: notices, the keyring, what a problem means, and whether the authority is well."""

from __future__ import annotations

import asyncio
import hashlib
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Annotated, Final

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from zpcode.api import examples, views
from zpcode.api.fields import Short
from zpcode.api.http import problems
from zpcode.api.http.context import Here
from zpcode.api.http.documented import ALWAYS, answers, page
from zpcode.api.http.paging import AfterNumber, Limit
from zpcode.api.http.paging import page as paged
from zpcode.api.schemas import BilingualView, Health, NoticeView, PageView, ProblemKind, Readiness
from zpcode.errors import NotFound, Text
from zpcode.services.monitoring import readiness
from zpcode.services.status import change as status

router = APIRouter(tags=["public"])
_ASKING: Final = ThreadPoolExecutor(4, "readyz")  # how things stand is told while all other threads wait for something


@router.get(
    "/v1/notices",
    summary="Follow public notices",
    response_model=PageView[NoticeView],
    responses=page(examples.NOTICE, examples.NOTICE["id"], slugs=ALWAYS),
)
def list_notices(here: Here, after: AfterNumber = None, limit: Limit = 50) -> PageView[NoticeView]:
    """Decisions of regulators and the operator that carry a notice number, in the order they were made."""
    found = status.notices(here.engine, after or 0, limit)
    return paged(found, limit, views.notice, lambda change: change.id)


@router.get(
    "/.well-known/zpcode-keyring.json",
    summary="The public keyring",
    response_class=Response,
    responses=answers(200, "Signed by the offline root key", examples.KEYRING, slugs=("keyring", "error"), ETag="Its SHA-256"),
)  # fmt: skip
def get_keyring(here: Here, request: Request) -> Response:
    """What a reader needs to verify seals by itself. Check its signature with the root key you have pinned."""
    document = here.keyring()
    etag = f'"{hashlib.sha256(document).hexdigest()}"'
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match", "").strip().removeprefix("W/") == etag:
        return Response(status_code=304, headers=headers)
    return Response(document, headers=headers, media_type="application/json")


@router.get(
    "/problems/{slug}",
    summary="What a problem means",
    response_model=ProblemKind,
    responses=answers(200, "The kind of problem", examples.PROBLEM_KIND, slugs=("not-found", "error")),
)
def explain_problem(
    slug: Annotated[Short, Path(description="The end of a problem's `type`.", examples=["not-found"])],
) -> ProblemKind:
    """In Chinese and English: what it is, and what to do."""
    kind = problems.KINDS.get(slug)
    if kind is None:
        raise NotFound(Text("没有这种问题", "there is no such kind of problem"))
    return _explained(kind)


def _explained(kind: problems.ProblemType) -> ProblemKind:
    return ProblemKind(
        type=kind.type,
        status=kind.status,
        title=BilingualView(zh=kind.title.zh, en=kind.title.en),
        advice=BilingualView(zh=kind.advice.zh, en=kind.advice.en),
    )


@router.get(
    "/healthz",
    summary="Whether the process answers",
    response_model=Health,
    responses=answers(200, "It does", {"status": "ok"}, slugs=("error",)),
)
async def get_health() -> Health:
    """Says nothing of what stands behind it."""
    return Health(status="ok")


@router.get(
    "/readyz",
    summary="What the authority can reach",
    response_model=Readiness,
    responses={
        **answers(200, "It can work", examples.READY, slugs=("error",)),
        503: {"description": "No database",
              "content": {"application/json": {"example": examples.READY | {"status": "unavailable"}}}},
    },
)  # fmt: skip
async def get_readiness(here: Here, response: Response) -> Readiness:
    """503 only without the database. Without Redis or the signer decisions can still be made, and must be."""
    ask = partial(readiness.parts, here.engine, here.redis, here.signer, here.keyring)
    parts = await asyncio.get_running_loop().run_in_executor(_ASKING, ask)
    word = readiness.status(parts)
    if word == readiness.UNAVAILABLE:
        response.status_code = 503
    return Readiness(status=word, parts=parts)
