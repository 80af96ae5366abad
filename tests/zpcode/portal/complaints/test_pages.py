"""The complaint pages over HTTP: the form with and without photos, progress, hostile input."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from html import unescape
from io import BytesIO
from typing import NoReturn

import httpx
import pytest
from fastapi import FastAPI
from PIL import Image
from sqlalchemy import text

from tests.support.authority import Tenants, as_
from tests.support.clock import Clock
from tests.support.registry_data import gtin
from tests.zpcode.portal.complaints.sending import (
    ADDRESSES,
    CODES,
    CONSUMER,
    DESCRIPTION,
    FORM,
    MULTIPART,
    OTHER,
    Wall,
    hidden,
    number_and_key,
    opened,
    photo,
    rows,
    send,
)
from zpcode.api.http.context import Authority
from zpcode.app import serve
from zpcode.portal.complaints.desk import Desk
from zpcode.portal.complaints.rate_limits import SHARED
from zpcode.portal.complaints.routes import Complaints
from zpcode.services.pictures.decoder import PictureDecoder
from zpcode.store.database.session import connect, transaction
from zpcode.wire import security_headers


def test_from_the_form_to_the_answer(http: httpx.Client, world: Tenants, wall: Wall) -> None:
    """Sent as a browser without JavaScript does, handled over the API, read with the complaint's key."""
    code = f"/01/{world.my_gtin}/10/L1"
    page = http.get(FORM, params={"code": code, "lang": "en"})
    assert page.status_code == 200
    assert "Bimetallic" in page.text
    wall.now += timedelta(seconds=10)
    files = [("photos", ("a.jpg", photo(), "image/jpeg")), ("photos", ("b.png", photo(), "image/png"))]
    number, key = number_and_key(send(http, hidden(page), files, place="Yuhang", contact="138 0000 0000"))
    shown = http.get(f"/complaints/{number}", params={"key": key, "new": "1"})
    assert "We have received your complaint" in shown.text
    assert "138 0000 0000" not in shown.text

    office, complaint = as_(world.hangzhou), {}
    address = f"/v1/complaints/{number}"
    for step in ({"step": "start"}, {"step": "answer", "text": "We have <b>spoken</b> to them"}):
        answer = http.post(f"{address}/steps", json=step, headers=office)
        assert answer.status_code == 201, answer.text
        complaint = answer.json()
    assert (complaint["code"], complaint["gtin"], complaint["enterprise"]) == (code, world.my_gtin, world.my_uscc)
    assert (complaint["contact"], complaint["description"], complaint["region"]) == (
        "138 0000 0000",
        DESCRIPTION,
        "330110",
    )
    picture = http.get(complaint["photos"][1], headers=office)
    assert picture.headers["Content-Type"] == "image/jpeg"
    with Image.open(BytesIO(picture.content)) as image:
        assert (image.size, dict(image.getexif())) == ((960, 640), {})
    shown = http.get(f"/complaints/{number}", params={"key": key})
    assert "We have &lt;b&gt;spoken&lt;/b&gt; to them" in shown.text
    assert "Now: answered" in shown.text

    mine = http.get(address, headers=as_(world.mine)).json()
    assert (mine["contact"], mine["photos"], mine["description"]) == (None, [], DESCRIPTION)
    for token in (world.ningbo, world.theirs):
        assert http.get(address, headers=as_(token)).status_code == 404
    assert http.post(f"{address}/steps", json={"step": "start"}, headers=as_(world.mine)).status_code == 403
    assert http.get(complaint["photos"][0], headers=as_(world.mine)).status_code == 403


def test_only_the_hash_of_a_key_is_stored_and_the_log_has_no_content(
    http: httpx.Client, world: Tenants, wall: Wall, here: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    number, key = number_and_key(send(http, opened(http, wall), contact="me@example.org", address=CONSUMER))
    http.get(f"/complaints/{number}", params={"key": key})
    (row,) = rows(here, "complaint")
    with transaction(here.engine) as connection:
        log = str(list(connection.execute(text("SELECT actor, object, detail FROM audit"))))
    assert f"complaint:{number}" in log
    for secret in (key, "me@example.org", DESCRIPTION, CONSUMER):
        assert secret not in str(tuple(row)).replace(DESCRIPTION, DESCRIPTION if secret != DESCRIPTION else "")
        assert secret not in log
        assert all(
            secret not in record.getMessage() + str(record.__dict__)
            for record in caplog.records
            if "zpcode" in record.name
        )
    assert world.my_gtin


def test_a_ticket_that_is_too_young_or_too_old_is_refused(
    http: httpx.Client, world: Tenants, wall: Wall, here: Authority
) -> None:
    """The new form keeps the typed text and can be sent."""
    for late, words in ((2, "sent very quickly"), (24 * 3600 + 1, "more than 24 hours ago")):
        fields = opened(http, wall, world.my_gtin, late)
        answer = send(http, fields, kind="label", place="a <place>", contact="a@b.cn")
        assert answer.status_code == 422
        assert words in answer.text
        assert unescape(answer.text).count(DESCRIPTION) == 1
        assert 'value="a &lt;place&gt;"' in answer.text
        assert 'value="a@b.cn"' in answer.text
        assert 'value="label" checked' in answer.text
        assert rows(here, "complaint") == []
        wall.now += timedelta(seconds=10)
    assert send(http, hidden(answer)).status_code == 303


def test_a_forged_ticket_is_refused(http: httpx.Client, world: Tenants, wall: Wall, here: Authority) -> None:
    for ticket in ("", "A" * 59, "é", "x" * 10_000, "\u0000"):
        answer = send(http, opened(http, wall), ticket=ticket)
        assert answer.status_code == 422
        assert "did not come from this page" in answer.text
    assert rows(here, "complaint") == []
    assert world


def test_a_form_sent_twice_leads_to_the_same_page(
    http: httpx.Client, world: Tenants, wall: Wall, here: Authority
) -> None:
    """Another text with the same ticket leads to a form with a new ticket."""
    fields = opened(http, wall, world.my_gtin)
    first = number_and_key(send(http, fields))
    assert number_and_key(send(http, fields)) == first
    other = send(http, fields, description="something else")
    assert other.status_code == 422
    assert "this form was sent before" in other.text
    assert "something else" in other.text
    assert len(rows(here, "complaint")) == 1
    wall.now += timedelta(seconds=10)
    assert number_and_key(send(http, hidden(other), description="something else"))[0] != first[0]


def test_the_same_within_an_hour_is_one_complaint(
    http: httpx.Client, world: Tenants, wall: Wall, here: Authority
) -> None:
    """The page shows the number but not the key: another person may have sent the same text."""
    number, key = number_and_key(send(http, opened(http, wall, world.my_gtin)))
    again = send(http, opened(http, wall, world.my_gtin))
    assert again.status_code == 200
    assert number in again.text
    assert key not in again.text
    assert number_and_key(send(http, opened(http, wall, world.my_gtin), contact="a@b.cn"))[0] != number
    wall.now += timedelta(hours=1)
    assert number_and_key(send(http, opened(http, wall, world.my_gtin)))[0] != number
    assert len(rows(here, "complaint")) == 3


def test_a_program_that_fills_in_every_field_is_refused(
    http: httpx.Client, world: Tenants, wall: Wall, here: Authority
) -> None:
    """The page shows the hidden field, for a person whose browser filled it in."""
    page = http.get(FORM)
    assert re.search(r'aria-hidden="true">\s*<label for="f-website"', page.text)
    assert 'autocomplete="off" tabindex="-1"' in page.text
    answer = send(http, opened(http, wall), website="https://spam.example")
    assert answer.status_code == 422
    assert '<a href="#f-website">' in answer.text
    assert 'aria-hidden="true">' not in answer.text
    assert rows(here, "complaint") == []
    assert world


def test_every_error_stands_beside_its_field_and_in_the_summary(
    http: httpx.Client, world: Tenants, wall: Wall, here: Authority
) -> None:
    long = "字" * 10_000
    answer = send(http, opened(http, wall), kind="nonsense", description=long, contact="nobody", place="x" * 201)
    assert answer.status_code == 422
    for field in ("kind", "description", "contact", "place"):
        assert f'<a href="#f-{field}">' in answer.text
        assert f'id="e-{field}"' in answer.text
        assert f'aria-describedby="e-{field}' in answer.text
        assert re.search(rf'id="f-{field}"', answer.text)
    assert long in answer.text
    assert "there are 10000" in answer.text
    assert "<title>Error:" in answer.text
    assert rows(here, "complaint") == []
    assert world


def test_a_file_that_is_no_photo_is_refused_with_its_position(
    http: httpx.Client, world: Tenants, wall: Wall, here: Authority
) -> None:
    small = photo((64, 64))
    for files, words in (
        ([b"<svg onload=alert(1)>"], "photo 1: only JPEG, PNG and WebP"),
        ([b"\xff\xd8\xff\xe0broken"], "photo 1: the picture is damaged"),
        ([small] * 4, "at most 3 photos"),
        ([small, b"GIF89a"], "photo 2:"),
    ):
        parts = [("photos", (f"{place}.jpg", file, "image/jpeg")) for place, file in enumerate(files)]
        answer = send(http, opened(http, wall), parts)
        assert answer.status_code == 422
        assert words in answer.text
    assert rows(here, "complaint") == []
    assert world


def test_an_address_over_its_limit_waits_and_the_others_do_not(
    http: httpx.Client, world: Tenants, wall: Wall, here: Authority, clock: Clock
) -> None:
    for turn in range(ADDRESSES):
        assert send(http, opened(http, wall), description=f"{turn}", address=CONSUMER).status_code == 303
    refused = send(http, opened(http, wall), description="one more", address=CONSUMER)
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) == 1200
    assert "one more" in refused.text
    assert "12315" in refused.text
    assert send(http, opened(http, wall), description="one more", address=OTHER).status_code == 303
    clock.seconds += 1200
    assert send(http, opened(http, wall), description="again", address=CONSUMER).status_code == 303
    assert len(rows(here, "complaint")) == ADDRESSES + 2
    assert world


def test_attempts_are_bounded_before_a_body_is_read(http: httpx.Client, world: Tenants, wall: Wall) -> None:
    """Invalid forms count too. Wrong keys do not: a link on a page of another site tries one in a reader's name."""
    wrong = f"/complaints/{world.my_complaint}?key={'0' * 26}"
    for number in range(6 * ADDRESSES + 1):
        status = http.get(wrong, headers={"X-Forwarded-For": CONSUMER}).status_code
        assert status == (404 if number < 6 * ADDRESSES else 429)
    assert http.get(wrong, headers={"X-Forwarded-For": OTHER}).status_code == 404
    for _ in range(6 * ADDRESSES):
        assert http.post(FORM, data={}, headers={"X-Forwarded-For": CONSUMER}).status_code == 422
    refused = http.post(FORM, data={"lang": "en"}, headers={"X-Forwarded-For": CONSUMER})
    assert (refused.status_code, "Too many requests" in refused.text) == (429, True)
    assert wall


def test_a_product_may_get_more_complaints_than_an_item(
    http: httpx.Client, world: Tenants, wall: Wall, here: Authority
) -> None:
    """Otherwise one sender could use up the complaints about a product. Beyond its limit a complaint is marked."""
    item = f"/01/{world.my_gtin}/21/00000G000000"
    for code, most in ((item, CODES), (f"/01/{world.my_gtin}", CODES + 2)):
        answers = [send(http, opened(http, wall, code), description=f"{turn}").status_code for turn in range(most)]
        assert answers == [303] * most
    assert not any(row.over_budget for row in rows(here, "complaint"))
    assert send(http, opened(http, wall, item), description="one more").status_code == 303
    assert [row.over_budget for row in rows(here, "complaint")].count(True) == 1


def test_a_product_is_counted_in_whichever_form_it_is_typed(
    http: httpx.Client, world: Tenants, wall: Wall, here: Authority
) -> None:
    path, short = f"/01/{world.my_gtin}", world.my_gtin.lstrip("0")
    forms = (path, world.my_gtin, short, f"{short[:3]} {short[3:]}", f"https://zpm.example{path}")
    for turn in range(CODES * SHARED):
        answer = send(http, opened(http, wall, forms[turn % len(forms)]), description=f"{turn}")
        assert answer.status_code == 303
    assert not any(row.over_budget for row in rows(here, "complaint"))
    for form in forms:
        assert send(http, opened(http, wall, form), description=form).status_code == 303
    assert [row.over_budget for row in rows(here, "complaint")].count(True) == len(forms)


def test_an_unsupported_method_gets_the_allowed_ones(http: httpx.Client, world: Tenants) -> None:
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
        answer = http.request(method, FORM)
        assert answer.status_code == 405
        assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD", "POST"}
    assert world


def test_the_address_without_its_slash_leads_to_the_pages(http: httpx.Client, world: Tenants) -> None:
    for query in ("", "?lang=en", "?lang=en&x=%0d%0aSet-Cookie:a"):
        answer = http.get(f"/complaints{query}")
        assert (answer.status_code, answer.headers["Location"]) == (308, f"/complaints/{query}")
        assert "set-cookie" not in answer.headers
    assert http.get("/complaints?lang=en", follow_redirects=True).url.path == "/complaints/find"
    assert world


def test_a_complaint_about_an_unknown_code_is_accepted(
    http: httpx.Client, world: Tenants, wall: Wall, here: Authority
) -> None:
    """Such complaints are expected; the province's office gets them."""
    number = ""
    for code in ("javascript:alert(1)", "/01/123", "A" * 107, '"><script>', "/" + "A" * 300, "\u202e\u0000é"):
        assert "<script>" not in http.get(FORM, params={"code": code}).text
        number, key = number_and_key(send(http, opened(http, wall, code)))
        assert "<script>" not in http.get(f"/complaints/{number}", params={"key": key}).text
    kept = {(row.region, row.gtin, row.proof) for row in rows(here, "complaint")}
    assert kept == {("330000", None, "unreadable")}
    assert http.get(f"/v1/complaints/{number}", headers=as_(world.hangzhou)).status_code == 404
    assert http.get(f"/v1/complaints/{number}", headers=as_(world.operator)).status_code == 200


def test_the_complainant_reads_which_office_it_was_assigned_to(http: httpx.Client, world: Tenants, wall: Wall) -> None:
    """The page does not name the office that assigned it."""
    number, key = number_and_key(send(http, opened(http, wall, world.my_gtin)))
    step = {"step": "assign", "region": "330110"}
    assert http.post(f"/v1/complaints/{number}/steps", json=step, headers=as_(world.hangzhou)).status_code == 201
    shown = http.get(f"/complaints/{number}", params={"key": key, "lang": "zh-CN"}).text
    assert "余杭区市场监督管理局" in shown
    assert "杭州市市场监督管理局" not in shown


def test_a_wrong_key_an_unknown_number_and_nonsense_get_the_same_answer(http: httpx.Client, world: Tenants) -> None:
    answers = [
        http.get(address, params={"key": key})
        for address, key in (
            (f"/complaints/{world.my_complaint}", "0" * 26),
            (f"/complaints/{world.my_complaint}", ""),
            ("/complaints/nonsense", "0" * 26),
            ("/complaints/%00", "\u202e"),
        )
    ]
    assert {answer.status_code for answer in answers} == {404}
    assert all("Not found" in answer.text for answer in answers)


def test_number_and_key_may_be_typed_with_look_alikes(http: httpx.Client, world: Tenants, wall: Wall) -> None:
    number, key = number_and_key(send(http, opened(http, wall)))
    typed = {"number": number.lower().replace("0", "o").replace("-", " "), "key": key.lower().replace("1", "i")}
    answer = http.get("/complaints/find", params=typed)
    assert number_and_key(answer) == (number, key)
    wrong = number[:-1] + ("0" if number[-1] != "0" else "1")
    assert http.get("/complaints/find", params={"number": wrong, "key": key}).status_code == 422
    assert http.get("/complaints/find", params={"number": number, "key": "short"}).status_code == 422
    assert world


@pytest.mark.parametrize("language", ["zh-CN", "en"])
def test_no_page_shows_a_key_for_words_or_loads_from_elsewhere(
    http: httpx.Client, world: Tenants, wall: Wall, language: str
) -> None:
    fields = opened(http, wall, world.my_gtin, lang=language)
    number, key = number_and_key(send(http, fields))
    pages = [
        http.get(FORM, params={"code": world.my_gtin, "lang": language}),
        http.get(FORM, params={"lang": language}),
        send(http, fields, kind="", description="", website="x"),
        http.get(f"/complaints/{number}", params={"key": key, "new": "1", "lang": language}),
        send(http, opened(http, wall, world.my_gtin, lang=language)),
        http.get("/complaints/find", params={"lang": language}),
        http.get("/complaints/a/b", params={"lang": language}),
        http.put(FORM, params={"lang": language}),
        http.post(FORM, content=b"x", params={"lang": language}, headers={"Content-Type": "multipart/form-data"}),
        http.post(FORM, content=b" " * (33 << 20), params={"lang": language}, headers={"Content-Type": MULTIPART}),
    ]
    assert [page.status_code for page in pages] == [200, 200, 422, 200, 200, 200, 404, 405, 400, 413]
    for page in pages:
        shown = re.sub(r"<[^>]*>", " ", page.text)
        assert not re.search(r"\b(form|error|errors|progress|site|find|state|step|kind|same)\.[a-z]", shown), shown
        assert f'<html lang="{language}">' in page.text
        assert page.text.count("<h1") == 1
        assert "set-cookie" not in page.headers
        assert {name: page.headers[name] for name in security_headers.PORTAL_PAGE} == dict(security_headers.PORTAL_PAGE)
        assert page.headers["Cache-Control"] == "no-store"
        assert set(re.findall(r'(?:src|href|action)="([^"#?]*)', page.text)) <= {
            "/complaints/static/form.css", "/complaints/static/form.js", "/complaints/static/icon.svg", "tel:12315", "", FORM,
            "/complaints/find", f"/complaints/{number}",
        }  # fmt: skip


def test_without_a_database_a_page_says_so_and_names_12315(here: Authority, wall: Wall) -> None:
    """The page says that nothing was recorded; an internal error is a page too, without its cause."""
    away = connect("postgresql://nobody@127.0.0.1:1/nothing")
    with PictureDecoder() as decoder:
        desk = Desk(away, _defect, wall, decoder)
        app = serve(here, portal=Complaints(desk))
        answer = _asked(app)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        assert "Nothing was recorded" in answer.text
        assert "tel:12315" in answer.text
        broken = _asked(app, "/" + "A" * 103 + "QAAA/01/" + gtin())
        assert (broken.status_code, "secret" in broken.text) == (500, False)
        assert "Something went wrong on our side" in broken.text
    away.dispose()


def _asked(app: FastAPI, code: str = "") -> httpx.Response:
    """The form of an application without a socket."""

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as client:
            return await client.get(FORM, params={"code": code, "lang": "en"})

    return asyncio.run(ask())


def _defect() -> NoReturn:
    raise ValueError("a secret")


def test_style_and_script_are_served_and_nothing_else(http: httpx.Client, world: Tenants) -> None:
    for name in ("form.css", "form.js", "icon.svg"):
        assert http.get(f"/complaints/static/{name}").status_code == 200
    for name in ("page.html", "..%2fpages.py", "%2e%2e/pages.py"):
        assert http.get(f"/complaints/static/{name}").status_code == 404
    assert world
