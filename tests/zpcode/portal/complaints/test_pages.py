"""The complaint pages over HTTP: from the form to the answer, progress, addresses, languages, errors of the service."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from io import BytesIO
from typing import NoReturn

import httpx
import pytest
from fastapi import FastAPI
from PIL import Image
from sqlalchemy import text

from tests.support.authority import Tenants, as_
from tests.support.registry_data import gtin
from tests.zpcode.portal.complaints.sending import (
    CONSUMER,
    DESCRIPTION,
    FORM,
    MULTIPART,
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
