"""Attempts to close the form or to silence complaints about a code, over HTTP. Each test says what the victims still can do."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.support.authority import Tenants, as_
from tests.support.clock import Clock
from tests.support.patience import eventually
from tests.support.pictures import jpeg
from tests.zpcode.portal.complaints.sending import (
    ADDRESSES,
    ATTACKERS,
    CODES,
    FORM,
    SlowDecoder,
    Wall,
    number_and_key,
    opened,
    photo,
    photos,
    rows,
    send,
    victim,
)
from zpcode.api.http.context import Authority
from zpcode.portal.complaints.rate_limits import (
    ALL,
    MARKED_ALL,
    NETWORK_SHARE,
    PHOTOS,
    REFUSED_PHOTO,
    SHARED,
    ComplaintRateLimits,
    LimitedComplaint,
)
from zpcode.portal.complaints.routes import Complaints
from zpcode.store import batches
from zpcode.store.database.session import transaction
from zpcode.wire.payload import Identity, Serial, check_of
from zpcode.wire.permutation import Permutation


def test_photos_that_are_refused_are_charged(http: httpx.Client, world: Tenants, wall: Wall) -> None:
    """Beyond the limit a text is still taken, and others still send photos."""
    assert world
    bad, affordable = b"\xff\xd8\xff\xe0broken", ADDRESSES * PHOTOS // REFUSED_PHOTO
    answers = [send(http, opened(http, wall), photos(bad), ATTACKERS[0]) for _ in range(affordable + 3)]
    assert [one.status_code for one in answers] == [422] * (affordable + 1) + [429] * 2
    assert "Too many photos came from your network" in answers[-1].text
    assert 'href="#f-photos"' in answers[-1].text
    assert send(http, opened(http, wall), address=ATTACKERS[0]).status_code == 303
    assert send(http, opened(http, wall), photos(photo()), victim(1), description="photo").status_code == 303


def test_one_form_sent_again_is_charged_to_nobody(
    http: httpx.Client, world: Tenants, wall: Wall, here: Authority, complaints: Complaints, slow: SlowDecoder
) -> None:
    """Neither to its code nor to its sender; its photos are not decoded again, and at once it is one complaint."""
    code, picture = f"/01/{world.my_gtin}/21/00000G000000", photo((64, 64))
    fields = opened(http, wall, code)
    first = number_and_key(send(http, fields, photos(picture), ATTACKERS[0]))
    for _ in range(4 * ADDRESSES):
        assert number_and_key(send(http, fields, photos(picture), ATTACKERS[0])) == first
    complaints.rate_limits = ComplaintRateLimits(1000, CODES)
    fields, big = opened(http, wall, code), jpeg(600, 400)
    with ThreadPoolExecutor(2) as threads:
        twice = [threads.submit(send, http, fields, photos(big), victim(one), description="twice") for one in (1, 2)]
        eventually(lambda: len(complaints._photos) == 2)
        slow.go()
        assert len({number_and_key(one.result(60)) for one in twice}) == 1
    for number in range(CODES - 1):
        assert send(http, opened(http, wall, code), description=f"{number}").status_code == 303
    assert not any(row.over_budget for row in rows(here, "complaint"))


def test_sixty_one_networks_of_one_provider_leave_a_product_to_ten_victims(
    http: httpx.Client, world: Tenants, wall: Wall, here: Authority
) -> None:
    """610 forms from 61 /64s of one /48: the /48 has its share, and the complaints of the victims are as any other."""
    code = f"/01/{world.my_gtin}"
    taken = 0
    for number in range(61):
        answer = send(http, opened(http, wall, code), address=f"2400:3200:0:{number:x}::1", description=f"{number}")
        taken += answer.status_code == 303
        assert answer.status_code == 303 or "Too many complaints came from your network" in answer.text
    assert taken == ADDRESSES * NETWORK_SHARE < CODES * SHARED
    for number in range(10):
        assert send(http, opened(http, wall, code), address=victim(number), description=f"v{number}").status_code == 303
    marked = {row.description for row in rows(here, "complaint") if row.over_budget}
    assert not any(description.startswith("v") for description in marked)


def test_four_addresses_leave_an_item_to_ten_victims(
    http: httpx.Client, world: Tenants, wall: Wall, here: Authority
) -> None:
    """The victims' texts are taken and marked, and they read so. Their photos are dropped, and they read that too."""
    code = f"/01/{world.my_gtin}/21/00000G000000"
    for number in range(CODES):
        answer = send(http, opened(http, wall, code), address=f"62.{number}.0.1", description=f"{number}")
        assert answer.status_code == 303
    for number in range(10):
        files = photos(photo()) if number % 2 else None
        answer = send(http, opened(http, wall, code, lang="en"), files, victim(number), description=f"victim {number}")
        reference, key = number_and_key(answer)
        page = http.get(answer.headers["Location"]).text
        assert "Your complaint is recorded and marked “over budget”" in page
        assert ("Your photos were not stored" in page) == bool(files)
        shown = http.get(f"/v1/complaints/{reference}", headers=as_(world.hangzhou)).json()
        assert (shown["over_budget"], shown["photos"], shown["description"]) == (True, [], f"victim {number}")
        assert "marked “over budget”" in http.get(f"/complaints/{reference}", params={"key": key, "lang": "en"}).text
    assert [row.over_budget for row in rows(here, "complaint")] == [False] * CODES + [True] * 10
    listed = http.get("/v1/complaints", params={"limit": 100}, headers=as_(world.hangzhou)).json()["items"]
    assert [one["over_budget"] for one in listed].count(True) == 10


def test_an_address_with_many_bad_photos_reads_after_how_many_hours_to_try_again(
    http: httpx.Client, world: Tenants, wall: Wall, complaints: Complaints
) -> None:
    """Four bad photos cost as much as twenty good ones, of which it may send six an hour."""
    assert world
    complaints.rate_limits = ComplaintRateLimits(1, 0, clock=lambda: 0.0)
    bad = b"\xff\xd8\xff\xe0broken"
    for files in (photos(bad), photos(bad, bad, bad)):
        assert send(http, opened(http, wall), files, victim(1)).status_code == 422
    refused = send(http, opened(http, wall), photos(bad), victim(1))
    assert (refused.status_code, int(refused.headers["Retry-After"])) == (429, 9000)
    assert "with the photos in 3 h" in refused.text


def test_images_on_a_page_of_another_site_charge_its_visitors_nothing(
    http: httpx.Client, world: Tenants, wall: Wall, clock: Clock
) -> None:
    """Each image tries a wrong key. The visitor can still try a key and send a form; a link is followed."""
    assert clock
    address = {"X-Forwarded-For": victim(1)}
    wrong = f"/complaints/{world.my_complaint}?key={'0' * 26}"
    image = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "image", "Sec-Fetch-Mode": "no-cors"}
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "document", "Sec-Fetch-Mode": "navigate"}
    for _ in range(60):
        assert http.get(wrong, headers=address | image).status_code == 403
    assert http.get(wrong, headers=address | link).status_code == 404
    assert send(http, opened(http, wall), address=victim(1)).status_code == 303


def test_a_form_from_another_site_is_refused_with_any_ticket(
    http: httpx.Client, world: Tenants, wall: Wall, here: Authority, clock: Clock
) -> None:
    """The attacker fetched the ticket; the browser says whose page sends it. Nothing is recorded, and nobody is charged."""
    assert world
    assert clock
    fields = opened(http, wall)
    evil = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site", "X-Forwarded-For": victim(1)}
    data = {"kind": "other", "description": "in your name"} | fields
    for headers in (evil, {"Origin": "null"}, {"Sec-Fetch-Site": "same-site"}):
        refused = http.post(FORM, data=data, headers=headers)
        assert refused.status_code == 403
        assert "This request came from another site" in refused.text
    assert rows(here, "complaint") == []
    own = {"Origin": str(http.base_url).rstrip("/"), "Sec-Fetch-Site": "same-origin"}
    assert http.post(FORM, data=data, headers=own).status_code == 303


@pytest.mark.parametrize(
    ("language", "recorded", "dropped"),
    [
        ("en", "Everything you wrote is recorded", "Your photos were not stored. Keep them"),
        ("zh-CN", "您填写的内容已全部登记", "您上传的照片没有保存。请留好原照片"),
    ],
)
def test_a_flood_from_64_providers_leaves_a_genuine_item_to_its_owner_who_reads_what_was_kept(
    http: httpx.Client, world: Tenants, wall: Wall, here: Authority, complaints: Complaints,
    language: str, recorded: str, dropped: str,
) -> None:  # fmt: skip
    """Every bound on all complaints is used up. The page says what was kept, what was dropped, and whom to call."""
    used_up(complaints.rate_limits)
    code = genuine_code(here, world.my_batch)
    fields = opened(http, wall, code, lang=language)
    answer = send(http, fields, photos(photo()), victim(1), place="Yuhang")
    number_and_key(answer)
    page = http.get(answer.headers["Location"]).text
    for words in (recorded, dropped, "12315", "Yuhang"):
        assert words in page
    (row,) = rows(here, "complaint")
    assert (row.over_budget, row.place, row.code) == (True, "Yuhang", code)


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", "so this one is not recorded yet. Send it again in 60 min, or call 12315."),
        ("zh-CN", "此件投诉尚未登记。请在 60 分钟后再提交一次，或拨打 12315。"),
    ],
)
def test_who_is_refused_beyond_all_bounds_keeps_the_text_and_reads_when_and_whom_to_call(
    http: httpx.Client, world: Tenants, wall: Wall, here: Authority, complaints: Complaints, language: str, words: str
) -> None:
    """A product, and an item that was never issued. Nothing is recorded."""
    used_up(complaints.rate_limits)
    for code in (world.my_gtin, f"/01/{world.my_gtin}/21/00000G000000"):
        answer = send(http, opened(http, wall, code, lang=language), address=victim(1), description="my text")
        assert (answer.status_code, "my text" in answer.text, words in answer.text) == (429, True, True), answer.text
    assert rows(here, "complaint") == []


def used_up(limits: ComplaintRateLimits) -> None:
    """Use up every bound on all complaints, with codes that were never issued."""
    for number in range(ALL + MARKED_ALL):
        limits.spend_complaint(LimitedComplaint(None, f"/01/{number}", item=False))


def genuine_code(here: Authority, number: int) -> str:
    """The path of the first item of a compact batch."""
    with transaction(here.engine) as connection:
        batch = batches.get(connection, number)
    assert batch is not None
    serial = Serial(batch.number, Permutation(batch.permutation_key).slot(0))
    return Identity(batch.gtin, serial=serial, check=check_of(batch.check_key, batch.gtin, serial)).path
