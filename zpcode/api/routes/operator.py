"""The routes of the operator: import a registry file; make, list and revoke API keys."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Path, Query

from zpcode.api import examples, views
from zpcode.api.fields import Short
from zpcode.api.http.authentication import JSON, TAKES_JSON, OperatorDep, takes
from zpcode.api.http.context import AuthorityDep
from zpcode.api.http.documented import WITH_BODY, WITH_KEY, page_responses, responses_of
from zpcode.api.http.paging import AfterText, Limit, page_of
from zpcode.api.routes.pictures import MAX_UPLOAD, MULTIPART, Upload, upload
from zpcode.api.schemas import ImportView, KeyOrder, KeyView, NewKeyView, PageView
from zpcode.services import access
from zpcode.services.pictures.import_ import open_pictures
from zpcode.services.registry import importing

XLSX: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
IMPORTS: Final = "/v1/registry/imports"
LARGER: Final = {IMPORTS: MAX_UPLOAD}
_UPLOAD: Final = {
    "requestBody": {
        "required": True,
        "description": "The registry file as the body, at most 32 MiB; docs/registry.md describes both formats. With pictures, "
        "a multipart form: the registry file as `registry`, a ZIP of at most 500 MB as `pictures`.",
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
    responses=responses_of(
        200, "Imported, or checked with dry_run", examples.IMPORT,
        slugs=("malformed-request", "body-too-large", "unsupported-media-type", "invalid-request", *WITH_KEY, "forbidden",
               "refused", "import-refused"),
    ),
)  # fmt: skip
def import_registry(
    caller: OperatorDep,
    authority: AuthorityDep,
    uploaded: Annotated[Upload, Depends(upload)],
    dry_run: Annotated[bool, Query(description="Check everything, write nothing.", examples=[True])] = False,
) -> ImportView:
    """Imports everything or nothing: with one finding, nothing is written. Records are updated by key."""
    with open_pictures(authority.storage, uploaded.pictures) as pictures:
        report = importing.import_registry(
            authority.engine,
            uploaded.registry,
            actor=caller.name,
            now=authority.clock(),
            dry_run=dry_run,
            pictures=pictures,
        )
    if not dry_run:
        authority.project()
    return views.report(report)


@router.post(
    "/api-keys",
    summary="Make an API key",
    status_code=201,
    response_model=NewKeyView,
    dependencies=[TAKES_JSON],
    responses=responses_of(201, "Made; the token is shown only once", examples.NEW_KEY,
                      slugs=(*WITH_BODY, *WITH_KEY, "forbidden", "refused")),
)  # fmt: skip
def make_key(order: KeyOrder, caller: OperatorDep, authority: AuthorityDep) -> NewKeyView:
    """For an enterprise, a regulator of a region, or another operator."""
    made = access.create(authority.engine, order.role, order.subject, order.label, caller=caller, now=authority.clock())
    return views.new_key(made)


@router.get(
    "/api-keys",
    summary="List API keys",
    response_model=PageView[KeyView],
    responses=page_responses(examples.KEY, examples.KEY["id"], slugs=(*WITH_KEY, "forbidden")),
)
def list_keys(
    caller: OperatorDep, authority: AuthorityDep, after: AfterText = "", limit: Limit = 50
) -> PageView[KeyView]:
    """All keys, revoked ones too, by id."""
    return page_of(access.listing(authority.engine, caller, after, limit), limit, views.key, lambda key: key.id)


@router.delete(
    "/api-keys/{key_id}",
    summary="Revoke an API key",
    response_model=KeyView,
    responses=responses_of(200, "Revoked", examples.KEY | {"revoked_at": "2026-11-21T05:00:00Z"},
                      slugs=(*WITH_KEY, "forbidden", "not-found")),
)  # fmt: skip
def revoke_key(
    key_id: Annotated[Short, Path(description="The id in zpk_ID_SECRET.", examples=[examples.KEY["id"]])],
    caller: OperatorDep,
    authority: AuthorityDep,
) -> KeyView:
    """The key is refused from the next request on. Doing it again changes nothing."""
    return views.key(access.revoke(authority.engine, key_id, caller=caller, now=authority.clock()))
