"""The operator's routes: imports and API keys."""

from __future__ import annotations

from typing import Any

import httpx
from sqlalchemy import Engine

from tests.support.authority import Tenants, as_
from tests.support.registry_data import as_json, as_xlsx, gtin, registry
from zpcode.api.routes.operator import XLSX
from zpcode.projection import projector
from zpcode.store import audit
from zpcode.store.database.session import transaction
from zpcode.wire import redis_keys

IMPORTS = "/v1/registry/imports"


def _import(http: httpx.Client, world: Tenants, content: bytes, media: str = "application/json", **params: Any) -> Any:
    return http.post(IMPORTS, content=content, params=params, headers=as_(world.operator) | {"Content-Type": media})


def test_a_workbook_is_imported_and_shown_to_the_scan_service(
    http: httpx.Client, redis: Any, engine: Engine, world: Tenants
) -> None:
    """The response counts new records; a Redis that was filled once has the product at once."""
    projector.catch_up(engine, redis)
    answer = _import(http, world, as_xlsx(registry(3)), XLSX)
    assert answer.status_code == 200
    assert answer.json()["counts"]["products"]["new"] == 1
    assert answer.json()["products"] == [gtin(3)]
    assert redis.get(redis_keys.location(f"p:{gtin(3)}")[0]) is not None
    assert http.get(f"/v1/products/{gtin(3)}", headers=as_(world.operator)).json()["gtin"] == gtin(3)


def test_a_dry_run_writes_nothing(http: httpx.Client, world: Tenants) -> None:
    """It tells the same."""
    tried = _import(http, world, as_json(registry(3)), dry_run="true").json()
    assert tried["dry_run"] is True
    assert tried["changes_in_all"] > 0
    assert http.get(f"/v1/products/{gtin(3)}", headers=as_(world.operator)).status_code == 404
    done = _import(http, world, as_json(registry(3))).json()
    assert tried | {"dry_run": False} == done


def test_a_wrong_file_is_refused_with_every_place(http: httpx.Client, world: Tenants) -> None:
    """JSON pointers for JSON, sheet, row and column for a workbook."""
    content = registry(3)
    content["products"][0]["gtin"] = "123"
    content["enterprises"][0]["region"] = "110101"
    answer = _import(http, world, as_json(content))
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/import-refused")
    assert {"/products/0/gtin", "/enterprises/0/region"} <= {one.get("pointer") for one in answer.json()["errors"]}
    places = [one["where"] for one in _import(http, world, as_xlsx(content), XLSX).json()["errors"]]
    assert places
    assert not any(place.startswith("/") for place in places)


def test_the_token_of_a_new_key_is_shown_once_and_works(http: httpx.Client, world: Tenants) -> None:
    """It is in no list, and requests with it are the enterprise's."""
    order = {"role": "enterprise", "subject": world.my_uscc, "label": "MES 2"}
    answer = http.post("/v1/api-keys", json=order, headers=as_(world.operator))
    assert answer.status_code == 201
    made = answer.json()
    token = made.pop("token")
    assert http.get("/v1/batches", headers=as_(token)).json()["items"][0]["enterprise"] == world.my_uscc
    listed = http.get("/v1/api-keys", headers=as_(world.operator))
    assert token.split("_")[2] not in listed.text
    (shown,) = [key for key in listed.json()["items"] if key["id"] == made["id"]]
    assert shown == made | {"last_used_at": "2026-11-21T04:00:00Z"}


def test_a_revoked_key_is_refused(http: httpx.Client, world: Tenants) -> None:
    """From the next request on, for good; revoking it again changes nothing."""
    id_ = world.mine.split("_")[1]
    first = http.delete(f"/v1/api-keys/{id_}", headers=as_(world.operator))
    assert first.status_code == 200
    assert first.json()["revoked_at"] == "2026-11-21T04:00:00Z"
    assert http.get("/v1/batches", headers=as_(world.mine)).status_code == 401
    assert http.delete(f"/v1/api-keys/{id_}", headers=as_(world.operator)).json() == first.json()
    assert http.delete("/v1/api-keys/000000000000", headers=as_(world.operator)).status_code == 404


def test_keys_are_listed_page_by_page(http: httpx.Client, world: Tenants) -> None:
    """Each once."""
    ids: list[str] = []
    after = ""
    while after is not None:
        params = {"limit": "2", "after": after}
        page = http.get("/v1/api-keys", params=params, headers=as_(world.operator)).json()
        ids += [key["id"] for key in page["items"]]
        after = page["next"]
    tokens = (world.mine, world.theirs, world.hangzhou, world.ningbo, world.operator)
    assert ids == sorted(token.split("_")[1] for token in tokens)


def test_what_is_done_over_http_is_in_the_audit_log_with_its_key(
    http: httpx.Client, engine: Engine, world: Tenants
) -> None:
    """The actor is the key's id; no secret of a key is there."""
    order = {"role": "regulator", "subject": "330110", "label": "x"}
    made = http.post("/v1/api-keys", json=order, headers=as_(world.operator)).json()
    with transaction(engine) as connection:
        entries = [entry for entry, _, _ in audit.entries(connection)]
    last = entries[-1]
    assert last.actor == f"operator:*:{world.operator.split('_')[1]}"
    assert (last.action, last.object) == ("access.create", f"api-key:{made['id']}")
    assert made["token"].split("_")[2] not in str(entries)
