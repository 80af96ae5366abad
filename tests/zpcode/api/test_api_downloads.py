"""Fetching a file of codes is in the audit log: who, which bytes, and why; a continued download does not flood it."""
# A test's name is its sentence; a docstring stands where there is more to say.

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine

from tests.support.authority import Tenants, as_, issued
from tests.support.strange_files import LINK, STRANGE, put
from zpcode.api.http.context import Authority
from zpcode.rules.access import Caller, Role
from zpcode.services import audit
from zpcode.services.batches.downloads import ACTION, record


def downloads(engine: Engine, batch: int) -> list[tuple[str, dict[str, Any]]]:
    """Who fetched what of a batch, oldest first."""
    entries = [entry for entry in audit.show(engine, f"batch:{batch}", 100) if entry.action == ACTION]
    return [(entry.actor, entry.detail) for entry in reversed(entries)]


def ranges(engine: Engine, batch: int) -> list[tuple[int, int]]:
    """The recorded ranges of bytes."""
    return [(detail["first"], detail["last"]) for _, detail in downloads(engine, batch)]


def test_a_download_is_recorded_with_who_which_bytes_and_why(
    http: httpx.Client, here: Authority, engine: Engine, world: Tenants
) -> None:
    batch = issued(here, world.my_batch)
    address = f"/v1/batches/{batch.number}/codes"
    assert http.get(address, params={"reason": "补印 reprint"}, headers=as_(world.mine)).status_code == 200
    ((actor, detail),) = downloads(engine, batch.number)
    assert actor.endswith(world.mine.split("_")[1])
    assert detail == {
        "first": 0,
        "last": batch.bytes - 1,
        "bytes": batch.bytes,
        "sha256": batch.sha256,
        "reason": "补印 reprint",
    }
    assert audit.verify(engine).whole


def test_what_gets_no_content_is_not_recorded(
    http: httpx.Client, here: Authority, engine: Engine, world: Tenants
) -> None:
    batch = issued(here, world.my_batch)
    address, mine = f"/v1/batches/{batch.number}/codes", as_(world.mine)
    assert http.get(address, headers=mine | {"If-None-Match": f'"{batch.sha256}"'}).status_code == 304
    assert http.get(address, headers=mine | {"Range": "bytes=99999999-"}).status_code == 416
    assert http.get(address, headers=as_(world.theirs)).status_code == 404
    assert downloads(engine, batch.number) == []


def test_a_continued_download_adds_no_entry_and_parts_add_two_an_hour(
    http: httpx.Client, here: Authority, engine: Engine, world: Tenants
) -> None:
    batch = issued(here, world.my_batch)
    address, mine = f"/v1/batches/{batch.number}/codes", as_(world.mine)
    whole = (0, batch.bytes - 1)
    for first in (0, 1, 0, 5):
        assert http.get(address, headers=mine | {"Range": f"bytes={first}-{first}"}).status_code == 206
    assert ranges(engine, batch.number) == [(0, 0), whole]
    for asked in ("bytes=7-", "bytes=0-", "bytes=-9"):
        assert http.get(address, headers=mine | {"Range": asked}).status_code == 206
    assert http.get(address, headers=mine).status_code == 200
    assert ranges(engine, batch.number) == [(0, 0), whole]
    caller = Caller(Role.ENTERPRISE, batch.uscc, world.mine.split("_")[1])
    for later in (timedelta(minutes=59), timedelta(hours=1)):
        record(engine, batch, 7, batch.bytes - 1, "", caller=caller, now=here.clock() + later)
    assert ranges(engine, batch.number) == [(0, 0), whole, (7, batch.bytes - 1)]


def test_what_is_no_file_in_the_place_of_one_keeps_no_download_waiting(
    http: httpx.Client, here: Authority, world: Tenants
) -> None:
    batch = issued(here, world.my_batch)
    for kind in STRANGE | LINK:
        put(kind, here.exports.finished(batch))
        response = http.get(f"/v1/batches/{batch.number}/codes", headers=as_(world.mine))
        assert response.status_code == 503, kind
        assert "zpcode batches export" in response.text


@pytest.mark.parametrize("reason", ["", "  ", "a\nb", "x" * 201])
def test_an_operator_says_why(http: httpx.Client, here: Authority, engine: Engine, world: Tenants, reason: str) -> None:
    batch = issued(here, world.my_batch)
    address = f"/v1/batches/{batch.number}/codes"
    answer = http.get(address, params={"reason": reason}, headers=as_(world.operator))
    assert answer.status_code == 422
    assert downloads(engine, batch.number) == []
    assert http.get(address, params={"reason": "court order"}, headers=as_(world.operator)).status_code == 200
    ((actor, detail),) = downloads(engine, batch.number)
    assert actor.startswith("operator:*:")
    assert detail["reason"] == "court order"
