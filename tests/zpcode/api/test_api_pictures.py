"""Pictures over HTTP: an enterprise's own products, and the ZIP beside a registry file."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import islice
from threading import Event

import httpx
import pytest

from tests.support.authority import Tenants, as_
from tests.support.pictures import drawn, encoded, jpeg, zipped
from tests.support.registry_data import as_json, as_xlsx, registry
from zpcode.api.http.context import Authority
from zpcode.services import audit
from zpcode.services.pictures.decoder import PictureDecoder
from zpcode.services.pictures.encode import MAX_BYTES, EncodedPicture
from zpcode.services.registry import product_pictures
from zpcode.services.registry.product_pictures import WAITING
from zpcode.store import cards
from zpcode.store.database.session import transaction

JPEG = {"Content-Type": "image/jpeg"}


def put(
    http: httpx.Client, key: str, gtin: str, data: bytes, which: str = "picture", kind: str = "image/jpeg"
) -> httpx.Response:
    """Send a picture of a product."""
    return http.put(f"/v1/products/{gtin}/{which}", content=data, headers=as_(key) | {"Content-Type": kind})


def product(http: httpx.Client, key: str, gtin: str) -> dict[str, object]:
    """A product as it is shown."""
    document: dict[str, object] = http.get(f"/v1/products/{gtin}", headers=as_(key)).json()
    return document


def revision(here: Authority) -> int:
    """How often cards were written."""
    with transaction(here.engine) as connection:
        return cards.head(connection)


def test_an_enterprise_sets_a_picture_and_a_mark_of_its_product(
    http: httpx.Client, world: Tenants, here: Authority
) -> None:
    answer = put(http, world.mine, world.my_gtin, jpeg(1000, 800))
    assert answer.status_code == 200, answer.text
    shown = answer.json()
    assert (shown["width"], shown["height"], len(shown["files"])) == (960, 768, 8)
    assert shown["files"][0] == f"https://zpm.example/pictures/{shown['digest']}-160.webp"
    assert here.storage.get(shown["files"][0].rpartition("/")[2])
    mark = put(http, world.mine, world.my_gtin, encoded(drawn(200, 200), "PNG"), "mark", "image/png").json()
    card = product(http, world.mine, world.my_gtin)
    assert card["picture"] == {"digest": shown["digest"], "width": 960, "height": 768, "widths": [160, 320, 640, 960]}
    assert isinstance(card["mark"], dict)
    assert card["mark"]["digest"] == mark["digest"]


def test_a_picture_is_audited_once_and_sending_it_again_changes_nothing(
    http: httpx.Client, world: Tenants, here: Authority
) -> None:
    put(http, world.mine, world.my_gtin, jpeg())
    before = revision(here)
    put(http, world.mine, world.my_gtin, jpeg())
    assert revision(here) == before
    http.delete(f"/v1/products/{world.my_gtin}/picture", headers=as_(world.mine))
    again = http.delete(f"/v1/products/{world.my_gtin}/picture", headers=as_(world.mine))
    assert (again.status_code, again.content) == (204, b"")
    assert "picture" not in product(http, world.mine, world.my_gtin)
    entries = audit.show(here.engine, f"product:{world.my_gtin}")
    assert {one.action for one in entries} == {"product.picture"}
    assert sorted(bool(one.detail["new"]) for one in entries) == [False, True]


def test_slow_pictures_do_not_hold_up_other_requests(
    http: httpx.Client, world: Tenants, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond a number of uploads at once the answer is 503: each upload holds a thread that all requests share."""
    over, statuses = Event(), []

    class Slow(PictureDecoder):
        def encode(self, data: bytes) -> EncodedPicture:
            over.wait(20)
            return super().encode(data)

    monkeypatch.setattr(product_pictures, "PictureDecoder", Slow)
    with ThreadPoolExecutor(WAITING + 2) as threads:
        sent = [threads.submit(put, http, world.mine, world.my_gtin, jpeg()) for _ in range(WAITING + 2)]
        try:
            statuses = [one.result(10).status_code for one in islice(as_completed(sent, 10), 2)]
        finally:
            over.set()
    assert statuses == [503, 503]
    assert [one.result().status_code for one in sent].count(200) == WAITING


def test_neither_another_enterprise_nor_a_regulator_sets_a_picture(http: httpx.Client, world: Tenants) -> None:
    assert put(http, world.mine, world.their_gtin, jpeg()).status_code == 404
    assert put(http, world.hangzhou, world.my_gtin, jpeg()).status_code == 403
    assert put(http, world.ningbo, world.my_gtin, jpeg()).status_code == 404
    assert put(http, world.operator, world.my_gtin, jpeg()).status_code == 200
    assert http.put(f"/v1/products/{world.my_gtin}/picture", content=jpeg(), headers=JPEG).status_code == 401


@pytest.mark.parametrize(
    ("data", "kind", "status", "reason"),
    [
        (jpeg()[:3000], "image/jpeg", 422, "broken"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/png", 422, "not_a_picture"),
        (b"", "image/png", 422, "not_a_picture"),
        (jpeg(), "image/svg+xml", 415, None),
        (bytes(MAX_BYTES + 1), "image/jpeg", 413, None),
    ],
)
def test_a_file_that_is_no_picture_is_refused(
    http: httpx.Client, world: Tenants, here: Authority, data: bytes, kind: str, status: int, reason: str | None
) -> None:
    before = revision(here)
    answer = put(http, world.mine, world.my_gtin, data, kind=kind)
    assert answer.status_code == status
    assert [one["reason"] for one in answer.json()["errors"]] == ([reason] if reason else [])
    assert revision(here) == before


def test_the_form_goes_by_the_content_and_not_by_the_header(http: httpx.Client, world: Tenants) -> None:
    assert put(http, world.mine, world.my_gtin, encoded(drawn(), "WEBP"), kind="image/jpeg").status_code == 200


def _parts(image: str, data: bytes, *, workbook: bool) -> dict[str, tuple[str, bytes, str]]:
    content = registry()
    content["products"][0]["image"] = image
    body = as_xlsx(content) if workbook else as_json(content)
    return {
        "registry": ("registry", body, "application/octet-stream"),
        "pictures": ("pictures.zip", zipped({"cup.jpg": data}).getvalue(), "application/zip"),
    }


@pytest.mark.parametrize("workbook", [True, False])
def test_an_import_comes_with_its_pictures(http: httpx.Client, world: Tenants, *, workbook: bool) -> None:
    operator = as_(world.operator)
    tried = http.post(
        "/v1/registry/imports?dry_run=true", files=_parts("cup.jpg", jpeg(), workbook=workbook), headers=operator
    )
    assert tried.status_code == 200, tried.text
    assert "picture" not in product(http, world.mine, world.my_gtin)
    done = http.post("/v1/registry/imports", files=_parts("cup.jpg", jpeg(), workbook=workbook), headers=operator)
    assert done.status_code == 200, done.text
    assert done.json()["products"] == [world.my_gtin]
    assert "picture" in product(http, world.mine, world.my_gtin)


def test_a_broken_picture_is_refused_with_its_cell(http: httpx.Client, world: Tenants) -> None:
    answer = http.post(
        "/v1/registry/imports", files=_parts("cup.jpg", jpeg()[:3000], workbook=False), headers=as_(world.operator)
    )
    assert answer.status_code == 422
    assert answer.json()["type"] == "/problems/import-refused"
    (error,) = answer.json()["errors"]
    assert (error["reason"], error["pointer"], error["value"]) == ("broken", "/products/0/image", "cup.jpg")


def test_a_form_without_a_registry_a_zip_that_is_none_and_a_body_that_is_no_form(
    http: httpx.Client, world: Tenants
) -> None:
    operator, parts = as_(world.operator), _parts("", b"", workbook=False)
    only = http.post("/v1/registry/imports", files={"pictures": parts["pictures"]}, headers=operator)
    assert (only.status_code, only.json()["errors"][0]["reason"]) == (422, "parts")
    parts["pictures"] = ("pictures.zip", b"no", "application/zip")
    broken = http.post("/v1/registry/imports", files=parts, headers=operator)
    assert (broken.status_code, broken.json()["errors"][0]["reason"]) == (422, "zip_broken")
    headers = operator | {"Content-Type": "multipart/form-data; boundary=x"}
    assert http.post("/v1/registry/imports", content=b"no form", headers=headers).status_code in {400, 422}
    refused = http.post("/v1/registry/imports", files=parts, headers=as_(world.mine))
    assert refused.status_code == 403


def test_a_registry_file_alone_is_still_bounded(http: httpx.Client, world: Tenants) -> None:
    headers = as_(world.operator) | {"Content-Type": "application/json"}
    assert http.post("/v1/registry/imports", content=b" " * (33 * 2**20), headers=headers).status_code == 413
