"""The portal's words, style and rate limits, without a server."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message

from tests.support.clock import Clock
from zpcode.language.negotiation import choose_language
from zpcode.portal.complaints.rate_limits import HOUR, OPEN_EACH, OPEN_FORMS, SHARED, Busy, FormRateLimits
from zpcode.portal.shell.forms import MAX_FIELD, read
from zpcode.portal.shell.texts import load
from zpcode.ratelimit import RateLimit
from zpcode.rules.complaints.complaint import ComplaintKind, ComplaintState, ComplaintStep

FOLDER = Path("zpcode/portal")


def rules_of(sheet: str) -> dict[str, set[str]]:
    """Selectors of a sheet's light part with their declarations."""
    light = re.sub(r"/\*.*?\*/", "", sheet, flags=re.DOTALL).partition("@media")[0]
    found: dict[str, set[str]] = {}
    for selectors, body in re.findall(r"([^{}]+)\{([^{}]*)\}", light):
        for selector in selectors.split(","):
            found.setdefault(selector.strip(), set()).update(part for part in body.split(";") if part)
    return found


def colours(sheet: str, *, dark: bool) -> set[str]:
    """The colours of one half of a sheet."""
    light, _, rest = sheet.partition("@media screen and (prefers-color-scheme:dark)")
    assert rest
    return set(re.findall(r"#[0-9a-f]{3,6}\b", rest if dark else light))


def test_the_look_is_the_scan_pages(root: Path) -> None:
    """Same colours, light and dark, and same rules for what both have; the width, and what errors need, apart."""
    ours = (root / FOLDER / "shell/static/form.css").read_text("utf-8")
    theirs = (root / "scanweb/page/static/page.css").read_text("utf-8")
    assert colours(ours, dark=False) <= colours(theirs, dark=False)
    assert colours(ours, dark=True) - {"#ff9aa6"} <= colours(theirs, dark=True)
    here, there = rules_of(ours), rules_of(theirs)
    shared = {"*", "html", "body", "a", "h1", "h2", ".card", ".button", "button", "input[type=text]", ".small", ".skip"}
    assert shared <= set(here) & set(there)
    assert {name: here[name] for name in shared} == {name: there[name] for name in shared}
    assert len(ours.encode()) <= 4096


def test_the_script_is_small_and_old_browsers_read_it(root: Path) -> None:
    """ES5: no arrow, no let or const, no template, no optional chaining."""
    script = (root / FOLDER / "shell/static/form.js").read_text("utf-8")
    assert len(script.encode()) <= 2048
    assert not re.search(r"=>|\b(let|const|class|async|await)\b|`|\?\.|\?\?", script)


def test_every_language_has_every_key_and_none_is_unused(root: Path) -> None:
    words = {path.stem: json.loads(path.read_text("utf-8")) for path in (root / FOLDER / "shell/i18n").glob("*.json")}
    assert {"zh-CN", "en"} <= set(words)
    keys = set(words["zh-CN"])
    assert all(set(found) == keys for found in words.values())
    assert all(text.strip() for found in words.values() for text in found.values())
    used = (
        {f"kind.{kind}" for kind in ComplaintKind}
        | {f"state.{state}" for state in ComplaintState}
        | {f"step.{step}" for step in ComplaintStep}
    )
    used |= {f"language.{tag}" for tag in words} | {"format.moment"}
    used |= {f"error.{code}.{part}" for code in (400, 404, 405, 408, 413, 429, 500, 503) for part in ("title", "text")}
    sources = [*(root / FOLDER).glob("*/templates/*.html"), root / FOLDER / "complaints/routes.py"]
    for source in sources:
        used |= set(
            re.findall(r"[\"']((?:site|errors?|form|progress|same|find)\.[a-z_]+)[\"']", source.read_text("utf-8"))
        )
    assert used - {path.name for path in (root / FOLDER).glob("*/templates/*.html")} == keys
    holes = {key: set(re.findall(r"\{(\w+)\}", text)) for key, text in words["zh-CN"].items()}
    for found in words.values():
        assert {key: set(re.findall(r"\{(\w+)\}", text)) for key, text in found.items()} == holes


@pytest.mark.parametrize(
    ("asked", "accept", "language"),
    [
        ("", "", "zh-CN"),
        ("en", "zh-CN", "en"),
        ("", "en-GB,en;q=0.8", "en"),
        ("", "fr, en;q=0.3, zh;q=0.5", "zh-CN"),
        ("xx", "de", "en"),
        ("ZH-TW", "en", "zh-CN"),
        ("", "en;q=x", "zh-CN"),
    ],
)
def test_a_reader_gets_their_language(asked: str, accept: str, language: str) -> None:
    assert choose_language(tuple(load()), accept, asked) == language


def asked(body: bytes, media: str, *, ends: bool = True) -> Request:
    """A request with a body, which may never end."""
    messages: Iterator[Message] = iter([{"type": "http.request", "body": body, "more_body": not ends}])

    async def receive() -> Message:
        for found in messages:
            return found
        await asyncio.Event().wait()
        raise AssertionError("nobody waits so long")

    headers = [(b"content-type", media.encode())]
    return Request({"type": "http", "method": "POST", "path": "/", "headers": headers}, receive)


@pytest.mark.parametrize(
    ("body", "media", "ends", "status"),
    [
        (b"description=" + b"x" * (MAX_FIELD + 1), "application/x-www-form-urlencoded", True, 413),
        (b"&".join(b"a%d=1" % one for one in range(99)), "application/x-www-form-urlencoded", True, 413),
        (b"--b\r\nContent-Disposition: form-data; name=x\r\n\r\n" + b"x" * (MAX_FIELD + 1), "multipart/form-data; boundary=b", True, 413),
        (b"x", "multipart/form-data", True, 400),
        (b"nonsense", "multipart/form-data; boundary=b", True, 400),
        (b"--b\r\nContent-Disposition: form-data; name=x\r\n\r\n-" + b"b" * 9999 + b"\r\n--b--", "multipart/form-data; boundary=b; charset=punycode", True, 400),
        (b"--b\r\nContent-Disposition: form-data; name=x\r\n\r\nx\r\n--b--", "multipart/form-data; boundary=b; charset=undefined", True, 400),
        (b"a=1", "application/x-www-form-urlencoded", False, 408),
    ],
)  # fmt: skip
def test_a_form_is_read_within_bounds(body: bytes, media: str, *, ends: bool, status: int) -> None:
    """A field, their number, the time; what is no form is none."""
    with pytest.raises(HTTPException) as refused:
        asyncio.run(read(asked(body, media, ends=ends), seconds=0.05))
    assert refused.value.status_code == status


def test_an_hours_budget_is_spent_and_comes_back(clock: Clock) -> None:
    rate_limits = FormRateLimits(2, 3, clock)
    assert [rate_limits.spend_complaint("60.191.0.1", "", item=False) for _ in range(3)] == [0, 0, 1800]
    assert rate_limits.spend_complaint("60.191.0.2", "", item=False) == 0
    clock.seconds += 1800
    assert rate_limits.spend_complaint("60.191.0.1", "", item=False) == 0


def test_one_household_shares_and_a_proxy_of_ours_does_not_count(clock: Clock) -> None:
    rate_limits = FormRateLimits(1, 0, clock)
    assert rate_limits.spend_complaint("2400:3200::1", "", item=False) == 0
    assert rate_limits.spend_complaint("2400:3200::2", "", item=False) > 0
    for address in ("127.0.0.1", "10.0.0.1", "nobody", None):
        assert [rate_limits.spend_complaint(address, "", item=False) for _ in range(5)] == [0] * 5


def test_what_was_refused_for_its_code_is_not_charged_to_the_address(clock: Clock) -> None:
    rate_limits = FormRateLimits(5, 1, clock)
    assert rate_limits.spend_complaint("60.191.0.1", "/01/1/21/A", item=True) == 0
    assert [rate_limits.spend_complaint("60.191.0.1", "/01/1/21/A", item=True) > 0 for _ in range(9)] == [True] * 9
    assert [rate_limits.spend_complaint("60.191.0.1", "", item=False) for _ in range(4)] == [0] * 4
    assert [rate_limits.spend_complaint(None, "/01/1", item=False) for _ in range(SHARED)] == [0] * SHARED
    assert rate_limits.spend_complaint(None, "/01/1", item=False) > 0


def test_who_spent_least_is_forgotten_first_by_the_hour_too(clock: Clock) -> None:
    limit = RateLimit(10, max_keys=2, period=HOUR)
    for key in (*["much"] * 9, "little", "new"):
        assert limit.spend(key, clock()) == 0
    assert [len(limit), limit.spend("much", clock()), limit.spend("much", clock()) > 0] == [2, 0, True]


def test_so_many_forms_are_read_at_a_time_and_a_place_comes_back(clock: Clock) -> None:
    rate_limits = FormRateLimits(0, 0, clock)
    places = [rate_limits.form() for _ in range(OPEN_FORMS)]
    for place in places:
        place.__enter__()
    with pytest.raises(Busy), rate_limits.form():
        pass
    places[0].__exit__(None, None, None)
    with rate_limits.form():
        pass


def test_one_address_does_not_hold_every_place(clock: Clock) -> None:
    """Half of them; whose address is not known may hold them all."""
    rate_limits = FormRateLimits(0, 0, clock)
    places = [rate_limits.form("60.191.0.1") for _ in range(OPEN_EACH)]
    for place in places:
        place.__enter__()
    with pytest.raises(Busy), rate_limits.form("60.191.0.1"):
        pass
    with rate_limits.form("60.191.0.2"), rate_limits.form():
        pass
    places[0].__exit__(None, None, None)
    with rate_limits.form("60.191.0.1"):
        pass
