"""What only the operator does over HTTP: bring in a registry file, give out API keys and take them back."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Path, Query

from zpcode.api import examples, views
from zpcode.api.fields import Short
from zpcode.api.http.authentication import JSON, TAKES_JSON, Operating, takes
from zpcode.api.http.context import Here
from zpcode.api.http.documented import BODIED, KNOWN, answers, page
from zpcode.api.http.paging import AfterText, Limit
from zpcode.api.http.paging import page as paged
from zpcode.api.routes.pictures import MAX_UPLOAD, MULTIPART, Upload, upload
from zpcode.api.schemas import ImportView, KeyOrder, KeyView, NewKeyView, PageView
from zpcode.services import access
from zpcode.services.pictures.import_ import supplied
from zpcode.services.registry import importing

XLSX: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
IMPORTS: Final = "/v1/registry/imports"
LARGER: Final = {IMPORTS: MAX_UPLOAD}
_UPLOAD: Final = {
    "requestBody": {
        "required": True,
        "description": "The registry file itself, at most 32 MiB; docs/registry.md describes both forms. With pictures, "
        "a form: the registry file as the part `registry`, a ZIP of at most 500 MB as the part `pictures`.",
        "content": {
            JSON: {"schema": {"type": "object"}, "example": examples.REGISTRY},
            XLSX: {"schema": {"type": "string", "format": "binary"}},
            MULTIPART: {
                "schema": {
                    "type": "object",
                    "required": ["registry"],
                    "properties": {name: {"type": "string", "format": "binary"} for name in ("registry", "pictures")},
                }
            },
        },
    }
}
router = APIRouter(prefix="/v1", tags=["operator"])


@router.post(
    "/registry/imports",
    summary="Import a registry file",
    response_model=ImportView,
    dependencies=[Depends(takes(JSON, XLSX, MULTIPART))],
    openapi_extra=_UPLOAD,
    responses=answers(
        200, "Imported, or tried", examples.IMPORT,
        slugs=("malformed-request", "body-too-large", "unsupported-media-type", "invalid-request", *KNOWN, "forbidden",
               "refused", "import-refused"),
    ),
)  # fmt: skip
def import_registry(
    asking: Operating,
    here: Here,
    sent: Annotated[Upload, Depends(upload)],
    dry_run: Annotated[bool, Query(description="Check everything, write nothing.", examples=[True])] = False,
) -> ImportView:
    """Everything or nothing: one finding, and nothing is written. Records are updated by key."""
    with supplied(here.shelf, sent.pictures) as pictures:
        report = importing.import_registry(
            here.engine, sent.registry, actor=asking.name, now=here.clock(), dry_run=dry_run, pictures=pictures
        )
    if not dry_run:
        here.project()
    return views.report(report)


@router.post(
    "/api-keys",
    summary="Make an API key",
    status_code=201,
    response_model=NewKeyView,
    dependencies=[TAKES_JSON],
    responses=answers(201, "Made; the token is shown this once", examples.NEW_KEY,
                      slugs=(*BODIED, *KNOWN, "forbidden", "refused")),
)  # fmt: skip
def make_key(order: KeyOrder, asking: Operating, here: Here) -> NewKeyView:
    """For an enterprise, a regulator of a region, or another operator."""
    made = access.create(here.engine, order.role, order.subject, label=order.label, caller=asking, now=here.clock())
    return views.new_key(made)


@router.get(
    "/api-keys",
    summary="List API keys",
    response_model=PageView[KeyView],
    responses=page(examples.KEY, examples.KEY["id"], slugs=(*KNOWN, "forbidden")),
)
def list_keys(asking: Operating, here: Here, after: AfterText = "", limit: Limit = 50) -> PageView[KeyView]:
    """All keys, revoked ones too, by id."""
    return paged(access.listing(here.engine, asking, after, limit), limit, views.key, lambda key: key.id)


@router.delete(
    "/api-keys/{key_id}",
    summary="Revoke an API key",
    response_model=KeyView,
    responses=answers(200, "Revoked", examples.KEY | {"revoked_at": "2026-11-21T05:00:00Z"},
                      slugs=(*KNOWN, "forbidden", "not-found")),
)  # fmt: skip
def revoke_key(
    key_id: Annotated[Short, Path(description="The id in zpk_ID_SECRET.", examples=[examples.KEY["id"]])],
    asking: Operating,
    here: Here,
) -> KeyView:
    """It counts no more from the next request on. Doing it again changes nothing."""
    return views.key(access.revoke(here.engine, key_id, caller=asking, now=here.clock()))
