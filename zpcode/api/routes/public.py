"""The routes without a key: public notices, the keyring, kinds of problems, health and readiness."""

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
from zpcode.api.http.authentication import LIMITS_READING
from zpcode.api.http.context import AuthorityDep
from zpcode.api.http.documented import ALWAYS, page_responses, responses_of
from zpcode.api.http.paging import AfterNumber, Limit, page_of
from zpcode.api.schemas import BilingualView, Health, NoticeView, PageView, ProblemKind, Readiness
from zpcode.errors import NotFound, Text
from zpcode.services.monitoring import readiness
from zpcode.services.status import change as status

router = APIRouter(tags=["public"])
_READINESS_THREADS: Final = ThreadPoolExecutor(4, "readyz")  # /readyz answers even while all other threads wait


@router.get(
    "/v1/notices",
    summary="Follow public notices",
    response_model=PageView[NoticeView],
    dependencies=[LIMITS_READING],
    responses=page_responses(examples.NOTICE, examples.NOTICE["id"], slugs=("too-many-requests", *ALWAYS)),
)
def list_notices(authority: AuthorityDep, after: AfterNumber = None, limit: Limit = 50) -> PageView[NoticeView]:
    """Decisions of regulators and the operator that carry a notice number, in the order in which they were made."""
    notices = status.notices(authority.engine, after or 0, limit)
    return page_of(notices, limit, views.notice, lambda change: change.id)


@router.get(
    "/.well-known/zpcode-keyring.json",
    summary="The public keyring",
    response_class=Response,
    responses=responses_of(200, "Signed by the offline root key", examples.KEYRING, slugs=("keyring", "error"), ETag="Its SHA-256"),
)  # fmt: skip
def get_keyring(authority: AuthorityDep, request: Request) -> Response:
    """The public keys that verify seals offline. Check the keyring's signature with the root key that you have pinned."""
    document = authority.keyring()
    etag = f'"{hashlib.sha256(document).hexdigest()}"'
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match", "").strip().removeprefix("W/") == etag:
        return Response(status_code=304, headers=headers)
    return Response(document, headers=headers, media_type="application/json")


@router.get(
    "/problems/{slug}",
    summary="Explain a kind of problem",
    response_model=ProblemKind,
    responses=responses_of(200, "The kind of problem", examples.PROBLEM_KIND, slugs=("not-found", "error")),
)
def explain_problem(
    slug: Annotated[Short, Path(description="The last part of a problem's `type`.", examples=["not-found"])],
) -> ProblemKind:
    """The title of a kind of problem, and advice on what to do, in Chinese and English."""
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
    summary="Check that the process answers",
    response_model=Health,
    responses=responses_of(200, "It answers", {"status": "ok"}, slugs=("error",)),
)
async def get_health() -> Health:
    """Says nothing about the database or other services."""
    return Health(status="ok")


@router.get(
    "/readyz",
    summary="Check whether the process is ready",
    response_model=Readiness,
    dependencies=[LIMITS_READING],
    responses={
        **responses_of(200, "Ready", examples.READY, slugs=("too-many-requests", "error")),
        503: {"description": "No database",
              "content": {"application/json": {"example": {"ready": False}}}},
    },
)  # fmt: skip
async def get_readiness(authority: AuthorityDep, response: Response) -> Readiness:
    """503 only without the database: without Redis or the signer, decisions can still be made, and have to be.

    The private port of the process tells the parts (docs/observing.md).
    """
    ask = partial(readiness.parts, authority.engine, authority.redis, authority.signer, authority.keyring)
    parts = await asyncio.get_running_loop().run_in_executor(_READINESS_THREADS, ask)
    ready = readiness.status(parts) != readiness.UNAVAILABLE
    if not ready:
        response.status_code = 503
    return Readiness(ready=ready)
