"""Forms that are sent: tickets, the same form again, mistakes and how they are shown."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape

import httpx

from tests.support.authority import Tenants
from tests.zpcode.portal.complaints.sending import (
    DESCRIPTION,
    FORM,
    Wall,
    hidden,
    number_and_key,
    opened,
    photo,
    rows,
    send,
)
from zpcode.api.http.context import Authority


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
