"""Complaints that somebody wants to silence, and script in every field that a page shows."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from html import unescape

import httpx

from tests.attack.target import SECONDS, Attempt, Attempts, Target

FORM = "/complaints/new"
TICKET_SECONDS = 3.5
"""A form is accepted three seconds after it was opened."""
_NETWORKS, _VICTIMS = 61, 10
_SHOWN = 5
"""Pages that show the text: the complaint, its form, and both languages of a decision's note among them."""
_SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'><svg/onload=alert(1)>{{7*7}}${7*7}&#60;b&#62;"


def silenced_complaints(target: Target) -> Attempts:
    """Somebody with a /48 and with three addresses cannot keep others from complaining about an item or about its product."""
    with target.authority_behind_a_proxy() as http:
        for name, code in (("the item", target.item), ("the product", target.product)):
            tickets = {address: opened(http, code, address) for address in _attackers()}
            addresses = [f"60.191.{number}.7" for number in range(_VICTIMS)]
            victims = {address: opened(http, code, address) for address in addresses}
            time.sleep(TICKET_SECONDS)
            for address, fields in tickets.items():
                for again in range(10):  # the same form again and again, each time with another text
                    send(http, fields | {"description": f"假 {again}"}, address)
            for address, fields in victims.items():
                status = send(http, fields | {"description": f"真的坏了 {address}"}, address)
                yield Attempt(f"{address} about {name}", "" if status in range(200, 400) else f"status {status}")


def posts_of_another_site(target: Target) -> Attempts:
    """A form that another site posts is not accepted, even with a valid ticket."""
    fields = opened(target.api, target.item, "")
    time.sleep(TICKET_SECONDS)
    for headers in (
        {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ):
        status = send(target.api, fields | {"description": "x"}, "", headers)
        yield Attempt(str(headers), "" if status in {400, 403} else f"status {status}")
    status = send(target.api, fields | {"description": "x"}, "")
    shown = status in range(200, 400)
    yield Attempt("the same form from our page", "" if shown else f"status {status}, so the attack shows nothing")


def script_in_fields(target: Target) -> Attempts:
    """Text that a person wrote is text on every page."""
    pages = {}
    fields = opened(target.api, target.item, "")
    time.sleep(TICKET_SECONDS)
    sent = target.api.post(FORM, data=complete(fields) | {"description": _SCRIPT, "place": _SCRIPT}, files=NO_PHOTO)
    pages["the complaint"] = target.api.get(sent.headers["location"]).text
    pages["the form"] = target.api.post(FORM, data={"description": _SCRIPT, "place": _SCRIPT}, files=NO_PHOTO).text
    for query in ("code", "number", "key", "lang"):
        pages[f"the parameter {query} of the form"] = target.api.get(FORM, params={query: _SCRIPT}).text
        pages[f"the parameter {query} of the search"] = target.api.get("/complaints/find", params={query: _SCRIPT}).text
    pages["a typed code"] = httpx.get(f"{target.demo.scan}/q", params={"code": _SCRIPT}, timeout=SECONDS).text
    note = {"scope": "code", "target": target.compact, "action": "flag", "reason": "cloning-suspected",
            "note": {"zh": _SCRIPT, "en": _SCRIPT}}  # fmt: skip
    target.api.post("/v1/status-changes", json=note, headers=target.demo.tokens["operator"])
    for language in ("zh", "en"):
        answer = httpx.get(target.demo.scan + target.compact, headers={"Accept-Language": language}, timeout=SECONDS)
        pages[f"the note of a decision in {language}"] = answer.text
    for name, page in pages.items():
        markup = [part for part in ("<script>alert", "<img src=x", "<svg/onload", "\"'><", "49}") if part in page]
        yield Attempt(name, f"the page has {markup[0]}" if markup else "")
    shown = [name for name, page in pages.items() if "&lt;script&gt;alert" in page]
    yield Attempt("the text is shown", "" if len(shown) >= _SHOWN else f"only by {shown}, so the attack shows little")


Parts = list[tuple[str, tuple[str, bytes, str]]]
NO_PHOTO: Parts = [("photos", ("", b"", "application/octet-stream"))]


def _attackers() -> Iterator[str]:
    yield from (f"2408:8000:9:{number:x}::1" for number in range(_NETWORKS))
    yield from ("60.190.0.1", "60.190.0.2", "60.190.0.3")


def opened(http: httpx.Client, code: str, address: str) -> dict[str, str]:
    """The hidden fields of a new form about a code."""
    page = http.get(FORM, params={"code": code}, headers={"X-Forwarded-For": address} if address else {}).text
    return {name: unescape(value) for name, value in re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page)}


def complete(fields: dict[str, str]) -> dict[str, str]:
    """The fields of a form that a person has filled in."""
    return {"kind": "quality", "place": "", "contact": "", "website": ""} | fields


def send(
    http: httpx.Client,
    fields: dict[str, str],
    address: str,
    headers: dict[str, str] | None = None,
    photos: Parts = NO_PHOTO,
    seconds: float = SECONDS,
) -> int:
    """The status of a form that is sent; 0 if the connection was closed without one. Each form has its own connection."""
    forwarded = {"X-Forwarded-For": address} if address else {}
    try:
        with httpx.Client(base_url=http.base_url, timeout=seconds, headers=forwarded | (headers or {})) as sender:
            return sender.post(FORM, data=complete(fields), files=photos).status_code
    except httpx.TransportError:
        return 0
