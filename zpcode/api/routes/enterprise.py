"""The routes of enterprises: list products, order batches of codes, download codes, activate batches.

Regulators and the operator read at the same addresses, each within their reach.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Header, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from zpcode.api import examples, views
from zpcode.api.fields import BatchNumber, Key, Short
from zpcode.api.http.authentication import TAKES_JSON, CallerDep
from zpcode.api.http.context import AuthorityDep
from zpcode.api.http.documented import WITH_BODY, WITH_KEY, page_responses, responses_of
from zpcode.api.http.downloads import download, has_file
from zpcode.api.http.paging import AfterNumber, AfterText, Limit, page_of
from zpcode.api.http.refusals import FileRemoved, NotReady
from zpcode.api.schemas import BatchOrder, BatchView, PageView, ProductView
from zpcode.errors import Conflict, Text
from zpcode.exports.formats import EXPORTS
from zpcode.rules.access import may_take_codes
from zpcode.rules.batches.batch import BatchRequest, BatchState
from zpcode.services.batches import code_file, downloads, reserve
from zpcode.services.batches.rewrite import request_file
from zpcode.services.registry import listing
from zpcode.wire.gs1 import gtin14

router = APIRouter(prefix="/v1")
Number = Annotated[BatchNumber, Path(description="The batch's number.", examples=[examples.NUMBER])]
IdempotencyKey = Annotated[
    Key,
    Header(
        description="1 to 200 visible ASCII characters that you choose, such as an order number. The same key with the "
        "same body gives the same batch, however often it is sent.",
        examples=["order-2026-11-0042"],
    ),
]
_LOCATION = "The address of the batch"


@router.post(
    "/batches",
    tags=["batches"],
    summary="Order a batch of codes",
    status_code=202,
    response_model=BatchView,
    dependencies=[TAKES_JSON],
    responses={
        **responses_of(202, "Reserved; the file is being written", examples.RESERVED,
                  slugs=(*WITH_BODY, *WITH_KEY, "forbidden", "refused", "conflict"), Location=_LOCATION),
        201: {"description": "The batch of this idempotency key, which is issued already", "content": {"application/json": {"example": examples.BATCH}}},
    },
)  # fmt: skip
def order_batch(
    order: BatchOrder, idempotency_key: IdempotencyKey, caller: CallerDep, authority: AuthorityDep, response: Response
) -> BatchView:
    """Reserves the numbers of a batch. The worker signs and writes the codes; GET shows its progress.

    Refused with every reason, for example if the recognition is not in force, the GTIN is not yours or the quota is exceeded.
    """
    request = BatchRequest(**dict(order))
    batch = reserve.reserve(
        authority.engine,
        request,
        caller=caller,
        idempotency_key=idempotency_key,
        base=authority.base,
        now=authority.clock(),
    )
    if batch.state is BatchState.RESERVED:
        authority.queue.defer_issue(batch.number)
        authority.project()
    else:
        response.status_code = 201
    response.headers["Location"] = f"/v1/batches/{batch.number}"
    return views.batch(batch, authority.exports)


@router.get(
    "/batches",
    tags=["batches"],
    summary="List batches",
    response_model=PageView[BatchView],
    responses=page_responses(examples.BATCH, examples.NUMBER),
)
def list_batches(
    caller: CallerDep, authority: AuthorityDep, after: AfterNumber = None, limit: Limit = 50
) -> PageView[BatchView]:
    """The batches within your reach, newest first."""
    batches = reserve.listing(authority.engine, caller, after, limit)
    return page_of(batches, limit, lambda batch: views.batch(batch, authority.exports), lambda batch: batch.number)


@router.get(
    "/batches/{number}",
    tags=["batches"],
    summary="Get a batch",
    response_model=BatchView,
    responses=responses_of(200, "The batch", examples.BATCH, slugs=(*WITH_KEY, "not-found")),
)
def get_batch(number: Number, caller: CallerDep, authority: AuthorityDep) -> BatchView:
    """The state of a batch, its progress, and the address of its file once that is finished."""
    return views.batch(reserve.get(authority.engine, number, caller), authority.exports)


@router.get(
    "/batches/{number}/codes",
    tags=["batches"],
    summary="Download the codes",
    response_class=Response,
    responses={
        **responses_of(206, "The requested range", None,
                  slugs=(*WITH_KEY, "forbidden", "not-found", "not-ready", "file-removed", "unsatisfiable-range", "refused")),
        200: {
            "description": "The file, in the format that was ordered (docs/issuing.md)",
            "content": {
                export.media_type.partition(";")[0]: {"schema": {"type": "string"}, "example": examples.codes(export)}
                for export in EXPORTS.values()
            },
            "headers": {
                "ETag": {"description": "SHA-256 of the file", "schema": {"type": "string"}},
                "Content-Length": {"description": "The bytes of the file or range", "schema": {"type": "string"}},
            },
        },
        304: {"description": "If-None-Match names the file's ETag"},
    },
)  # fmt: skip
def get_codes(
    number: Number,
    caller: CallerDep,
    authority: AuthorityDep,
    request: Request,
    reason: Annotated[
        str,
        Query(
            max_length=downloads.MAX_REASON,
            description="Why the codes are fetched, for the audit log.",
            examples=["reprint"],
        ),
    ] = "",
) -> Response:
    """The finished file. Continue an interrupted download with `Range: bytes=N-` and `If-Range: "SHA-256"`.

    Only for the enterprise and the operator: a holder of the file can print the codes. A file that was removed after its
    time is written again, the same to the byte: the answer is 503 with Retry-After until it is there. Who fetches what is in
    the audit log; an operator has to say why (`reason`).
    """
    batch = reserve.get(authority.engine, number, caller)
    may_take_codes(caller)
    downloads.check_reason(caller, reason)
    written = code_file.progress(authority.exports, batch)
    if batch.state is not BatchState.ISSUED:
        raise NotReady(written, batch.codes, batch.problem)
    if batch.file_removed_at is not None and not has_file(batch, request.headers):
        why = _requested(authority, number, caller)
        raise FileRemoved(written, batch.codes, why)

    def record(first: int, last: int) -> None:
        downloads.record(authority.engine, batch, first, last, reason, caller=caller, now=authority.clock())

    return download(batch, authority.exports, request.headers, record)


def _requested(authority: AuthorityDep, number: int, caller: CallerDep) -> Text | None:
    """Request a removed file; what it waits for, if that is known."""
    try:
        batch = request_file(authority.engine, number, caller, authority.clock())
    except Conflict as busy:
        return busy.text
    authority.queue.defer_issue(number)
    return batch.problem


@router.post(
    "/batches/{number}/activation",
    tags=["batches"],
    summary="Activate a batch",
    response_model=BatchView,
    responses=responses_of(
        200, "The batch, active", examples.BATCH, slugs=(*WITH_KEY, "forbidden", "not-found", "conflict")
    ),
)
def activate_batch(number: Number, caller: CallerDep, authority: AuthorityDep) -> BatchView:
    """From now on its codes are active. Before, a scan says "not activated". Doing it again changes nothing."""
    batch = reserve.activate(authority.engine, number, caller, authority.clock())
    authority.project()
    return views.batch(batch, authority.exports)


@router.get(
    "/products",
    tags=["registry"],
    summary="List products",
    response_model=PageView[ProductView],
    responses=page_responses(examples.PRODUCT, examples.GTIN),
)
def list_products(
    caller: CallerDep, authority: AuthorityDep, after: AfterText = "", limit: Limit = 50
) -> PageView[ProductView]:
    """The products within your reach, by GTIN."""
    products = listing.products(authority.engine, caller, after, limit)
    return page_of(products, limit, views.product, lambda card: card.gtin)


@router.get(
    "/products/{gtin}",
    tags=["registry"],
    summary="Get a product",
    response_class=Response,
    responses=responses_of(200, "The product card", examples.CARD, slugs=(*WITH_KEY, "not-found")),
)
def get_product(
    gtin: Annotated[Short, Path(description="The product's GTIN.", examples=[examples.GTIN])],
    caller: CallerDep,
    authority: AuthorityDep,
) -> Any:
    """Everything that a scan shows of a product: enterprise, standards, certificates, comparison table, commitments."""
    card = listing.product(authority.engine, gtin14(gtin) or gtin, caller)
    return Response(msgspec.json.encode(card), media_type="application/json")
