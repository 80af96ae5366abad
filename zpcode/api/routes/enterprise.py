"""What an enterprise does: see its products, order batches of codes, fetch them, switch them on.

Regulators and the operator read the same addresses, each within their reach.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Header, Path
from starlette.requests import Request
from starlette.responses import Response

from zpcode.api import examples, views
from zpcode.api.fields import BatchNumber, Key, Short
from zpcode.api.http.authentication import TAKES_JSON, Asking
from zpcode.api.http.context import Here
from zpcode.api.http.documented import BODIED, KNOWN, answers, page
from zpcode.api.http.downloads import download
from zpcode.api.http.paging import AfterNumber, AfterText, Limit
from zpcode.api.http.paging import page as paged
from zpcode.api.http.refusals import NotReady
from zpcode.api.schemas import BatchOrder, BatchView, PageView, ProductView
from zpcode.exports.formats import EXPORTS
from zpcode.rules.access import may_take_codes
from zpcode.rules.batches.batch import BatchRequest, BatchState
from zpcode.services.batches import code_file, reserve
from zpcode.services.registry import listing
from zpcode.wire.gs1 import gtin14

router = APIRouter(prefix="/v1")
Number = Annotated[BatchNumber, Path(description="The batch's number.", examples=[examples.NUMBER])]
IdempotencyKey = Annotated[
    Key,
    Header(
        description="1 to 200 visible ASCII characters of your own, such as an order number. The same key with the "
        "same body is the same batch, however often it is sent.",
        examples=["order-2026-11-0042"],
    ),
]
_LOCATION = "Address of the batch"


@router.post(
    "/batches",
    tags=["batches"],
    summary="Order a batch of codes",
    status_code=202,
    response_model=BatchView,
    dependencies=[TAKES_JSON],
    responses={
        **answers(202, "Reserved; the file is being written", examples.RESERVED,
                  slugs=(*BODIED, *KNOWN, "forbidden", "refused", "conflict"), Location=_LOCATION),
        201: {"description": "The key's batch, issued already", "content": {"application/json": {"example": examples.BATCH}}},
    },
)  # fmt: skip
def order_batch(
    order: BatchOrder, idempotency_key: IdempotencyKey, asking: Asking, here: Here, response: Response
) -> BatchView:
    """Reserves numbers for a batch at once; signing and writing follow, and GET shows how far they are.

    Refused with every reason where the recognition is not in force, the GTIN is not yours, the quota is exceeded.
    """
    request = BatchRequest(**dict(order))
    batch = reserve.reserve(
        here.engine, request, caller=asking, idempotency_key=idempotency_key, base=here.base, now=here.clock()
    )
    if batch.state is BatchState.RESERVED:
        here.queue.defer_issue(batch.number)
        here.project()
    else:
        response.status_code = 201
    response.headers["Location"] = f"/v1/batches/{batch.number}"
    return views.batch(batch, here.exports)


@router.get(
    "/batches",
    tags=["batches"],
    summary="List batches",
    response_model=PageView[BatchView],
    responses=page(examples.BATCH, examples.NUMBER),
)
def list_batches(asking: Asking, here: Here, after: AfterNumber = None, limit: Limit = 50) -> PageView[BatchView]:
    """The batches within your reach, newest first."""
    found = reserve.listing(here.engine, asking, after, limit)
    return paged(found, limit, lambda batch: views.batch(batch, here.exports), lambda batch: batch.number)


@router.get(
    "/batches/{number}",
    tags=["batches"],
    summary="Look at a batch",
    response_model=BatchView,
    responses=answers(200, "The batch", examples.BATCH, slugs=(*KNOWN, "not-found")),
)
def get_batch(number: Number, asking: Asking, here: Here) -> BatchView:
    """State, progress, and where its file is once it is finished."""
    return views.batch(reserve.get(here.engine, number, asking), here.exports)


@router.get(
    "/batches/{number}/codes",
    tags=["batches"],
    summary="Fetch the codes",
    response_class=Response,
    responses={
        **answers(206, "The range asked for", None,
                  slugs=(*KNOWN, "forbidden", "not-found", "not-ready", "unsatisfiable-range")),
        200: {
            "description": "The file, in the format that was ordered (docs/issuing.md)",
            "content": {
                export.media_type.partition(";")[0]: {"schema": {"type": "string"}, "example": examples.codes(export)}
                for export in EXPORTS.values()
            },
            "headers": {
                "ETag": {"description": "SHA-256 of the file", "schema": {"type": "string"}},
                "Content-Length": {"description": "Its bytes", "schema": {"type": "string"}},
            },
        },
        304: {"description": "If-None-Match names the file's ETag"},
    },
)  # fmt: skip
def get_codes(number: Number, asking: Asking, here: Here, request: Request) -> Response:
    """The finished file. A broken download goes on with `Range: bytes=N-` and `If-Range: "SHA-256"`.

    Only the enterprise and the operator: whoever has the file can print the codes.
    """
    batch = reserve.get(here.engine, number, asking)
    may_take_codes(asking)
    if batch.state is not BatchState.ISSUED:
        raise NotReady(code_file.progress(here.exports, batch), batch.codes, batch.problem)
    return download(batch, here.exports, request.headers)


@router.post(
    "/batches/{number}/activation",
    tags=["batches"],
    summary="Activate a batch",
    response_model=BatchView,
    responses=answers(200, "The batch, active", examples.BATCH, slugs=(*KNOWN, "forbidden", "not-found", "conflict")),
)
def activate_batch(number: Number, asking: Asking, here: Here) -> BatchView:
    """From now on its codes count; before, a scan says "not activated". Doing it again changes nothing."""
    batch = reserve.activate(here.engine, number, asking, here.clock())
    here.project()
    return views.batch(batch, here.exports)


@router.get(
    "/products",
    tags=["registry"],
    summary="List products",
    response_model=PageView[ProductView],
    responses=page(examples.PRODUCT, examples.GTIN),
)
def list_products(asking: Asking, here: Here, after: AfterText = "", limit: Limit = 50) -> PageView[ProductView]:
    """The products within your reach, by GTIN."""
    found = listing.products(here.engine, asking, after, limit)
    return paged(found, limit, views.product, lambda card: card.gtin)


@router.get(
    "/products/{gtin}",
    tags=["registry"],
    summary="Look at a product",
    response_class=Response,
    responses=answers(200, "The product card", examples.CARD, slugs=(*KNOWN, "not-found")),
)
def get_product(
    gtin: Annotated[Short, Path(description="Its GTIN.", examples=[examples.GTIN])],
    asking: Asking,
    here: Here,
) -> Any:
    """All that a scan shows of it: enterprise, standards and certificates, comparison table, commitments."""
    card = listing.product(here.engine, gtin14(gtin) or gtin, asking)
    return Response(msgspec.json.encode(card), media_type="application/json")
