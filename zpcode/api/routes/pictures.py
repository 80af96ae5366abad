"""Pictures over HTTP: what an enterprise shows of its own products, and the ZIP beside a registry file."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import IO, Annotated, Final

from fastapi import APIRouter, Depends, Path
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from zpcode.api import examples, views
from zpcode.api.fields import Short
from zpcode.api.http.authentication import Asking, Operating, takes
from zpcode.api.http.context import Here
from zpcode.api.http.documented import KNOWN, answers
from zpcode.api.schemas import PictureView
from zpcode.errors import refusal
from zpcode.services.pictures.encode import MAX_BYTES
from zpcode.services.pictures.zip_upload import MAX_UNPACKED
from zpcode.services.registry import product_pictures
from zpcode.services.registry.files.archive import MAX_FILE, too_large
from zpcode.services.registry.product_pictures import Which
from zpcode.wire.gs1 import gtin14

FORMS: Final = ("image/jpeg", "image/png", "image/webp")
MULTIPART: Final = "multipart/form-data"
MAX_UPLOAD: Final = MAX_FILE + MAX_UNPACKED + 2**20
"""Bytes of a registry file and a ZIP together, and what multipart puts around them."""
LARGER: Final = {r"/v1/products/[0-9]{1,20}/(picture|mark)": MAX_BYTES}
_BODY: Final = {
    "requestBody": {
        "required": True,
        "description": "The picture itself: at most 10 MB, 40 megapixels and 12 000 pixels a side.",
        "content": {form: {"schema": {"type": "string", "format": "binary"}} for form in FORMS},
    }
}
router = APIRouter(prefix="/v1", tags=["registry"])
Gtin = Annotated[Short, Path(description="The product's GTIN.", examples=[examples.GTIN])]
Kind = Annotated[
    Which,
    Path(description="The product's picture, or its brand's mark.", openapi_examples={"picture": {"value": "picture"}}),
]


async def _file(request: Request, _: Asking) -> bytes:
    """The body of somebody who has a key; a stranger's is not read."""
    return await request.body()


@router.put(
    "/products/{gtin}/{which}",
    summary="Show a picture of a product",
    response_model=PictureView,
    dependencies=[Depends(takes(*FORMS))],
    openapi_extra=_BODY,
    responses=answers(200, "Shown from now on", examples.PICTURE,
                      slugs=("body-too-large", "unsupported-media-type", *KNOWN, "forbidden", "not-found", "refused")),
)  # fmt: skip
def put_picture(
    gtin: Gtin, which: Kind, asking: Asking, here: Here, file: Annotated[bytes, Depends(_file)]
) -> PictureView:
    """Its picture, or the mark of its brand, in place of the one before. Re-encoded; place, camera and the like are dropped."""
    full = gtin14(gtin) or gtin
    found = product_pictures.place(here.engine, here.shelf, full, which, file, caller=asking, now=here.clock())
    here.project()
    return views.picture(found, here.base)


@router.delete(
    "/products/{gtin}/{which}",
    summary="Show a product without a picture",
    status_code=204,
    response_class=Response,
    responses=answers(204, "Not shown any more", None, slugs=(*KNOWN, "forbidden", "not-found")),
)
def delete_picture(gtin: Gtin, which: Kind, asking: Asking, here: Here) -> Response:
    """The page does without it. Doing it again changes nothing."""
    product_pictures.remove(here.engine, gtin14(gtin) or gtin, which, caller=asking, now=here.clock())
    here.project()
    return Response(status_code=204)


@dataclass(frozen=True, slots=True)
class Upload:
    """A registry file, and the ZIP with its pictures where one came along: a file that can be sought in."""

    registry: bytes
    pictures: IO[bytes] | None = None


async def upload(request: Request, _: Operating) -> AsyncIterator[Upload]:
    """What the operator sent: a registry file as the body, or in the parts `registry` and `pictures` of a form.

    Parts wait in temporary files. Nobody else's body is read. Raises Refused, HTTPException 413.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != MULTIPART:
        yield Upload(await _bounded(request))
        return
    async with request.form(max_files=2, max_fields=0) as form:
        parts = {name: value for name, value in form.multi_items() if isinstance(value, UploadFile)}
        if "registry" not in parts or not parts.keys() <= {"registry", "pictures"}:
            raise refusal(
                "parts",
                "表单应含文件 registry（登记文件）和 pictures（图片 ZIP，可选）",
                "a form has the file registry and, where there are pictures, the file pictures: a ZIP",
            )
        if (parts["registry"].size or 0) > MAX_FILE:
            raise too_large()
        pictures = parts.get("pictures")
        yield Upload(await parts["registry"].read(), None if pictures is None else pictures.file)


async def _bounded(request: Request) -> bytes:
    """A body that is a registry file: the address takes more only where a ZIP comes along."""
    found = bytearray()
    async for piece in request.stream():
        found += piece
        if len(found) > MAX_FILE:
            raise HTTPException(413)
    return bytes(found)
