"""Pictures over HTTP: those that an enterprise sets for its own products, and the ZIP beside a registry file."""

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
from zpcode.api.http.authentication import CallerDep, OperatorDep, takes
from zpcode.api.http.context import AuthorityDep
from zpcode.api.http.documented import WITH_KEY, responses_of
from zpcode.api.schemas import PictureView
from zpcode.errors import refusal
from zpcode.services.pictures.encode import MAX_BYTES
from zpcode.services.pictures.zip_upload import MAX_UNPACKED
from zpcode.services.registry import product_pictures
from zpcode.services.registry.files.archive import MAX_FILE, too_large
from zpcode.services.registry.product_pictures import PictureKind
from zpcode.wire.gs1 import gtin14

FORMS: Final = ("image/jpeg", "image/png", "image/webp")
MULTIPART: Final = "multipart/form-data"
MAX_UPLOAD: Final = MAX_FILE + MAX_UNPACKED + 2**20
"""Bytes of a registry file and a ZIP together, with 1 MiB for the multipart encoding."""
LARGER: Final = {r"/v1/products/[0-9]{1,20}/(picture|mark)": MAX_BYTES}
_BODY: Final = {
    "requestBody": {
        "required": True,
        "description": "The picture file: at most 10 MB, 40 megapixels and 12 000 pixels a side.",
        "content": {form: {"schema": {"type": "string", "format": "binary"}} for form in FORMS},
    }
}
router = APIRouter(prefix="/v1", tags=["registry"])
Gtin = Annotated[Short, Path(description="The product's GTIN.", examples=[examples.GTIN])]
Kind = Annotated[
    PictureKind,
    Path(
        description="The picture of the product, or the mark of its brand.",
        openapi_examples={"picture": {"value": "picture"}},
    ),
]


async def _file(request: Request, _: CallerDep) -> bytes:
    """The body. Without a valid key the request is refused before its body is read."""
    return await request.body()


@router.put(
    "/products/{gtin}/{which}",
    summary="Set a picture of a product",
    response_model=PictureView,
    dependencies=[Depends(takes(*FORMS))],
    openapi_extra=_BODY,
    responses=responses_of(200, "The picture, which is shown from now on", examples.PICTURE,
                      slugs=("body-too-large", "unsupported-media-type", *WITH_KEY, "forbidden", "not-found", "refused")),
)  # fmt: skip
def put_picture(
    gtin: Gtin, which: Kind, caller: CallerDep, authority: AuthorityDep, file: Annotated[bytes, Depends(_file)]
) -> PictureView:
    """Replaces the picture, or the mark of the brand. It is encoded again, without metadata such as place and camera."""
    full = gtin14(gtin) or gtin
    placed = product_pictures.put(
        authority.engine, authority.storage, full, which, file, caller=caller, now=authority.clock()
    )
    authority.project()
    return views.picture(placed, authority.base)


@router.delete(
    "/products/{gtin}/{which}",
    summary="Remove a picture of a product",
    status_code=204,
    response_class=Response,
    responses=responses_of(204, "No longer shown", None, slugs=(*WITH_KEY, "forbidden", "not-found")),
)
def delete_picture(gtin: Gtin, which: Kind, caller: CallerDep, authority: AuthorityDep) -> Response:
    """The page no longer shows it. Doing it again changes nothing."""
    product_pictures.remove(authority.engine, gtin14(gtin) or gtin, which, caller=caller, now=authority.clock())
    authority.project()
    return Response(status_code=204)


@dataclass(frozen=True, slots=True)
class Upload:
    """A registry file, and the ZIP with its pictures as a seekable file; None if none was sent."""

    registry: bytes
    pictures: IO[bytes] | None = None


async def upload(request: Request, _: OperatorDep) -> AsyncIterator[Upload]:
    """The registry file that the operator sent: as the body, or as the parts `registry` and `pictures` of a form.

    Parts are kept in temporary files. The body is read only if the caller is the operator. Raises Refused, HTTPException 413.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != MULTIPART:
        yield Upload(await _bounded(request))
        return
    async with request.form(max_files=2, max_fields=0) as form:
        parts = {name: value for name, value in form.multi_items() if isinstance(value, UploadFile)}
        if "registry" not in parts or not parts.keys() <= {"registry", "pictures"}:
            raise refusal(
                "parts",
                "表单应包含文件 registry（登记文件），可包含文件 pictures（图片 ZIP）",
                "the form has to have the file registry and may have the file pictures, a ZIP",
            )
        if (parts["registry"].size or 0) > MAX_FILE:
            raise too_large()
        pictures = parts.get("pictures")
        yield Upload(await parts["registry"].read(), None if pictures is None else pictures.file)


async def _bounded(request: Request) -> bytes:
    """A body that is a registry file, which has a lower bound than a form with a ZIP."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_FILE:
            raise HTTPException(413)
    return bytes(body)
