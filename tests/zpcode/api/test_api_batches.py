"""Codes over HTTP: order, download, activate."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import text

from tests.support.authority import Tenants, as_, issued
from tests.support.code_folders import put_content
from zpcode.api.http.context import Authority
from zpcode.rules.access import Caller, Role
from zpcode.services.batches import reserve, retention
from zpcode.store.database.session import transaction

ORDER = {"level": "item", "quantity": 500, "lot": "L1", "production_date": "2026-11-20"}


def _order(http: httpx.Client, world: Tenants, key: str, **changed: object) -> httpx.Response:
    body = {"gtin": world.my_gtin} | ORDER | changed
    return http.post("/v1/batches", json=body, headers=as_(world.mine) | {"Idempotency-Key": key})


def test_an_order_is_accepted_at_once_with_the_address_of_its_batch(http: httpx.Client, world: Tenants) -> None:
    """202 with the Location of the reserved batch."""
    answer = _order(http, world, "order-1")
    assert answer.status_code == 202
    batch = answer.json()
    assert batch["state"] == "reserved"
    assert batch["progress"] == {"written": 0, "codes": 500}
    assert batch["file"] is None
    assert answer.headers["Location"] == f"/v1/batches/{batch['number']}"
    assert http.get(answer.headers["Location"], headers=as_(world.mine)).json() == batch


def test_an_order_is_handed_on_to_the_worker_once(http: httpx.Client, here: Authority, world: Tenants) -> None:
    """As a job in the same PostgreSQL; sending the order again adds none."""
    number = _order(http, world, "order-1").json()["number"]
    _order(http, world, "order-1")
    with transaction(here.engine) as connection:
        jobs = connection.execute(text("SELECT args, status FROM procrastinate_jobs")).all()
    assert [(job.args, job.status) for job in jobs] == [({"number": number}, "todo")]


def test_no_secret_of_a_batch_is_in_an_answer(http: httpx.Client, world: Tenants) -> None:
    """With its permutation or check key one can compute which serials exist."""
    assert not {"permutation_key", "check_key"} & set(_order(http, world, "order-1").json())


def test_many_requests_at_once_with_one_key_make_one_batch(http: httpx.Client, here: Authority, world: Tenants) -> None:
    """Sixteen threads over real connections get one number; none is refused."""
    before = len(reserve.listing(here.engine, Caller(Role.OPERATOR, "*", "test")))
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: _order(http, world, "one-key"), range(16)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["number"] for answer in answers}) == 1
    assert len(reserve.listing(here.engine, Caller(Role.OPERATOR, "*", "test"))) == before + 1


def test_a_key_used_for_another_request_is_a_conflict(http: httpx.Client, world: Tenants) -> None:
    """It names the batch the key has made."""
    number = _order(http, world, "one-key").json()["number"]
    answer = _order(http, world, "one-key", quantity=501)
    assert answer.status_code == 409
    assert answer.json()["type"] == "/problems/conflict"
    assert str(number) in answer.json()["detail"]


def test_one_key_of_two_enterprises_makes_two_batches(http: httpx.Client, world: Tenants) -> None:
    """Idempotency keys are each caller's own."""
    first = _order(http, world, "one-key").json()["number"]
    body = {"gtin": world.their_gtin} | ORDER
    answer = http.post("/v1/batches", json=body, headers=as_(world.theirs) | {"Idempotency-Key": "one-key"})
    assert answer.status_code == 202
    assert answer.json()["number"] != first


def test_repeating_an_order_whose_batch_is_issued_gives_201(
    http: httpx.Client, here: Authority, world: Tenants
) -> None:
    """It has been created by then."""
    number = _order(http, world, "compact", level="compact").json()["number"]
    issued(here, number)
    answer = _order(http, world, "compact", level="compact")
    assert answer.status_code == 201
    assert answer.json()["file"]["href"] == f"/v1/batches/{number}/codes"


def test_an_order_without_a_key_is_refused(http: httpx.Client, world: Tenants) -> None:
    """The header is named."""
    answer = http.post("/v1/batches", json={"gtin": world.my_gtin} | ORDER, headers=as_(world.mine))
    assert answer.status_code == 422
    assert [(one["where"], one["reason"]) for one in answer.json()["errors"]] == [("Idempotency-Key", "missing")]


def test_a_gtin_of_13_digits_is_read_as_14(http: httpx.Client, world: Tenants) -> None:
    """As it stands below the bar code."""
    assert _order(http, world, "thirteen", gtin=world.my_gtin[1:]).json()["gtin"] == world.my_gtin


def test_anothers_gtin_is_refused_as_an_unknown_one_is(http: httpx.Client, world: Tenants) -> None:
    """Neither text nor status shows which GTINs other enterprises have."""
    unknown = "09501101530003"
    other = _order(http, world, "a", gtin=world.their_gtin).json()
    nobody = _order(http, world, "b", gtin=unknown).json()
    for answer in (other, nobody):
        del answer["instance"], answer["errors"][0]["value"]
    assert other == nobody
    assert other["errors"][0]["reason"] == "foreign_gtin"


def test_a_regulator_orders_and_fetches_nothing(http: httpx.Client, here: Authority, world: Tenants) -> None:
    """A regulator sees the batches in the region, but cannot download codes."""
    issued(here, world.my_batch)
    keys = as_(world.hangzhou)
    assert http.get(f"/v1/batches/{world.my_batch}", headers=keys).status_code == 200
    assert http.get(f"/v1/batches/{world.my_batch}/codes", headers=keys).status_code == 403
    order = {"gtin": world.my_gtin} | ORDER
    assert http.post("/v1/batches", json=order, headers=keys | {"Idempotency-Key": "r"}).status_code == 403


def test_codes_that_are_not_ready_say_how_far_they_are(http: httpx.Client, world: Tenants) -> None:
    """409 with the progress and Retry-After."""
    answer = http.get(f"/v1/batches/{world.my_batch}/codes", headers=as_(world.mine))
    assert answer.status_code == 409
    assert answer.json()["type"] == "/problems/not-ready"
    assert answer.json()["progress"] == {"written": 0, "codes": 100}
    assert int(answer.headers["Retry-After"]) > 0


def test_the_codes_are_the_file_that_was_issued(http: httpx.Client, here: Authority, world: Tenants) -> None:
    """Its length, its SHA-256 as ETag, and every byte of it."""
    batch = issued(here, world.my_batch)
    answer = http.get(f"/v1/batches/{world.my_batch}/codes", headers=as_(world.mine))
    assert answer.status_code == 200
    assert answer.headers["Content-Length"] == str(batch.bytes) == str(len(answer.content))
    assert answer.headers["ETag"] == f'"{batch.sha256}"'
    assert hashlib.sha256(answer.content).hexdigest() == batch.sha256
    assert answer.headers["Content-Disposition"] == f'attachment; filename="batch-{world.my_batch}.csv"'
    assert answer.text.splitlines()[0] == "url,gtin,lot,serial,production_date,expiry_date"


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [("bytes=0-9", 0, 9), ("bytes=100-", 100, None), ("bytes=-7", -7, None), ("bytes=5-99999999", 5, None)],
)
def test_an_interrupted_download_is_continued(
    http: httpx.Client, here: Authority, world: Tenants, asked: str, first: int, last: int | None
) -> None:
    """RFC 9110, 14: one range of bytes, the rest, or the end."""
    batch = issued(here, world.my_batch)
    address = f"/v1/batches/{world.my_batch}/codes"
    whole = http.get(address, headers=as_(world.mine)).content
    part = http.get(address, headers=as_(world.mine) | {"Range": asked, "If-Range": f'"{batch.sha256}"'})
    expected = whole[first:] if last is None else whole[first : last + 1]
    assert part.status_code == 206
    assert part.content == expected
    begin = whole.index(expected)
    assert part.headers["Content-Range"] == f"bytes {begin}-{begin + len(expected) - 1}/{len(whole)}"


@pytest.mark.parametrize("headers", [{"Range": "bytes=9-3"}, {"Range": "bytes=0-1,3-4"}, {"Range": "lines=0-1"}, {"Range": "bytes=-"}, {"Range": "bytes=0-9", "If-Range": '"another"'}])  # fmt: skip
def test_a_range_that_cannot_be_served_gives_the_whole_file(
    http: httpx.Client, here: Authority, world: Tenants, headers: dict[str, str]
) -> None:
    """RFC 9110, 14.2: a range that the server does not support, or of another file, is ignored."""
    batch = issued(here, world.my_batch)
    answer = http.get(f"/v1/batches/{world.my_batch}/codes", headers=as_(world.mine) | headers)
    assert answer.status_code == 200
    assert len(answer.content) == batch.bytes


@pytest.mark.parametrize("asked", ["bytes=99999999-", "bytes=-0"])
def test_a_range_behind_the_end_is_refused(http: httpx.Client, here: Authority, world: Tenants, asked: str) -> None:
    """416, with the size."""
    batch = issued(here, world.my_batch)
    answer = http.get(f"/v1/batches/{world.my_batch}/codes", headers=as_(world.mine) | {"Range": asked})
    assert answer.status_code == 416
    assert answer.headers["Content-Range"] == f"bytes */{batch.bytes}"
    assert answer.json()["type"] == "/problems/unsatisfiable-range"


def test_a_client_that_has_the_file_gets_304(http: httpx.Client, here: Authority, world: Tenants) -> None:
    """304 for its ETag, weak or strong; not for another ETag."""
    batch = issued(here, world.my_batch)
    address = f"/v1/batches/{world.my_batch}/codes"
    for tag, status in ((f'"{batch.sha256}"', 304), (f'W/"{batch.sha256}", "x"', 304), ('"x"', 200)):
        assert http.get(address, headers=as_(world.mine) | {"If-None-Match": tag}).status_code == status


def test_a_file_that_is_gone_or_short_is_never_sent(http: httpx.Client, here: Authority, world: Tenants) -> None:
    """503, with the operator's command in the detail."""
    batch = issued(here, world.my_batch)
    path = here.exports.finished(batch)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    answer = http.get(f"/v1/batches/{world.my_batch}/codes", headers=as_(world.mine))
    assert answer.status_code == 503
    assert f"zpcode batches export {batch.number}" in answer.json()["detail"]
    put_content(here.exports, batch, b"of another size")
    assert http.get(f"/v1/batches/{world.my_batch}/codes", headers=as_(world.mine)).status_code == 503
    path.write_bytes(b"not encrypted" + whole[13:])
    assert http.get(f"/v1/batches/{world.my_batch}/codes", headers=as_(world.mine)).status_code == 503
    path.unlink()
    assert http.get(f"/v1/batches/{world.my_batch}/codes", headers=as_(world.mine)).status_code == 503


def test_a_removed_file_is_written_again_by_a_download(http: httpx.Client, here: Authority, world: Tenants) -> None:
    """503 with Retry-After and the progress, which `curl -f --retry` waits for; then 200 with the same bytes and ETag."""
    batch = issued(here, world.my_batch)
    address, mine = f"/v1/batches/{world.my_batch}/codes", as_(world.mine)
    whole = http.get(address, headers=mine)
    later = here.clock() + timedelta(days=91)
    assert retention.remove_files(here.engine, here.signer, here.exports, 90, later) == 1
    assert http.get(f"/v1/batches/{world.my_batch}", headers=mine).json()["file"]["removed_at"] is not None
    assert http.get(address, headers=as_(world.hangzhou)).status_code == 403
    assert http.get(address, headers=as_(world.theirs)).status_code == 404
    assert http.get(address, headers=mine | {"If-None-Match": whole.headers["ETag"]}).status_code == 304
    assert not reserve.get(here.engine, batch.number, Caller(Role.OPERATOR, "*", "test")).awaits_file
    with transaction(here.engine) as connection:
        connection.execute(text("UPDATE batch SET file_removed_at = :now"), {"now": here.clock()})
    for _ in range(2):
        answer = http.get(address, headers=mine | {"Range": "bytes=5-"})
        assert (answer.status_code, answer.json()["type"]) == (503, "/problems/file-removed")
        assert int(answer.headers["Retry-After"]) > 0
        assert answer.json()["progress"] == {"written": 0, "codes": 100}
    with transaction(here.engine) as connection:
        requests = text("SELECT count(*) FROM audit WHERE action = 'batch.file-request'")
        assert connection.execute(requests).scalar_one() == 1
        assert connection.execute(text("SELECT count(*) FROM procrastinate_jobs")).scalar_one() == 1
    issued(here, world.my_batch)
    again = http.get(address, headers=mine)
    assert (again.status_code, again.content, again.headers["ETag"]) == (200, whole.content, whole.headers["ETag"])


def test_a_batch_is_activated_once_issued(http: httpx.Client, here: Authority, world: Tenants) -> None:
    """Before that it is a conflict; doing it again changes nothing."""
    number = _order(http, world, "manual", level="compact", activation="manual").json()["number"]
    address = f"/v1/batches/{number}/activation"
    assert http.post(address, headers=as_(world.mine)).status_code == 409
    issued(here, number)
    first = http.post(address, headers=as_(world.mine))
    assert first.status_code == 200
    assert first.json()["activated_at"] == "2026-11-21T04:00:00Z"
    assert http.post(address, headers=as_(world.mine)).json() == first.json()


def test_a_list_is_read_page_by_page(http: httpx.Client, world: Tenants) -> None:
    """Newest first, each batch once, for every page size."""
    wanted = [_order(http, world, f"order-{step}").json()["number"] for step in range(5)]
    numbers: list[int] = []
    after: int | None = 2**62
    while after is not None:
        page = http.get("/v1/batches", params={"limit": 2, "after": after}, headers=as_(world.mine)).json()
        numbers += [batch["number"] for batch in page["items"]]
        after = page["next"]
    assert numbers == sorted([*wanted, world.my_batch], reverse=True)
