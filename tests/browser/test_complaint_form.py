"""The complaint form with its script in Chromium: it counts, previews, sends once, and shows errors."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from fastapi import FastAPI
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.browser.chromium import window
from tests.support.authority import base_url, here
from zpcode.api.http.context import Authority
from zpcode.app import PublishedKeyring, serve
from zpcode.portal.complaints.desk import Desk
from zpcode.portal.complaints.routes import Complaints
from zpcode.rules.complaints.complaint import MAX_DESCRIPTION
from zpcode.services.pictures.decoder import PictureDecoder

__all__ = ["base_url", "here"]


@pytest.fixture
def app(here: Authority) -> Iterator[FastAPI]:
    """The authority with its portal."""
    assert isinstance(here.keyring, PublishedKeyring)
    with PictureDecoder() as decoder:
        yield serve(here, portal=Complaints(Desk(here.engine, here.keyring.current, here.clock, decoder)))


@pytest.fixture
def form(browser: Browser, base_url: str) -> Iterator[Page]:
    """The form in English; the console must stay empty."""
    said: list[str] = []
    with window(browser, language="en") as context:
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(f"{base_url}/complaints/new")
        yield page
    assert [one for one in said if "422" not in one] == []


def photo(folder: Path, name: str) -> Path:
    """A small JPEG."""
    target = BytesIO()
    Image.new("RGB", (60, 40), "teal").save(target, "JPEG")
    (folder / name).write_bytes(target.getvalue())
    return folder / name


def test_characters_are_counted_down_near_the_bound(form: Page) -> None:
    line = form.locator("#f-description + p")
    form.fill("#f-description", "x" * (MAX_DESCRIPTION - 300))
    expect(line).to_have_text("")
    form.fill("#f-description", "x" * (MAX_DESCRIPTION - 150))
    expect(line).to_have_text("150 characters left")


def test_photos_are_shown_and_too_many_are_refused(form: Page, tmp_path: Path) -> None:
    photos = [photo(tmp_path, f"{place}.jpg") for place in range(4)]
    form.set_input_files("#f-photos", photos[:2])
    expect(form.locator(".shots img")).to_have_count(2)
    assert form.evaluate("document.querySelector('.shots img').decode().then(() => true)")
    form.set_input_files("#f-photos", photos)
    expect(form.locator(".shots img")).to_have_count(0)
    expect(form.locator("#f-photos + p")).to_have_text("At most 3 photos; please choose again.")
    assert form.input_value("#f-photos") == ""


def test_errors_get_the_focus_and_lead_to_their_fields(form: Page) -> None:
    """The form is sent too soon after it was opened, and its fields are empty."""
    form.evaluate("document.querySelector('form').noValidate = true")
    form.click("button[type=submit]")
    expect(form.locator("#errors")).to_be_focused()
    form.click("#errors a[href='#f-description']")
    expect(form.locator("#f-description")).to_be_focused()


def test_a_form_that_is_on_its_way_cannot_be_sent_again(form: Page) -> None:
    """The response is delayed, so that the browser stays on the page as during an upload of photos."""
    form.evaluate("document.querySelector('form').addEventListener('submit', event => event.preventDefault())")
    form.check("#f-kind")
    form.fill("#f-description", "The thread strips.")
    form.click("button[type=submit]")
    expect(form.locator("button[type=submit]")).to_be_disabled()
    expect(form.locator("button[type=submit]")).to_have_text("Sending…")
