"""What one sender may send and what a code may get, over HTTP."""

from __future__ import annotations

import httpx

from tests.support.authority import Tenants
from tests.support.clock import Clock
from tests.zpcode.portal.complaints.sending import (
    ADDRESSES,
    CODES,
    CONSUMER,
    FORM,
    OTHER,
    Wall,
    opened,
    rows,
    send,
)
from zpcode.api.http.context import Authority
from zpcode.portal.complaints.rate_limits import SHARED


def test_an_address_over_its_limit_waits_and_the_others_do_not(
    http: httpx.Client, world: Tenants, wall: Wall, here: Authority, clock: Clock
) -> None:
    for turn in range(ADDRESSES):
        assert send(http, opened(http, wall), description=f"{turn}", address=CONSUMER).status_code == 303
    refused = send(http, opened(http, wall), description="one more", address=CONSUMER)
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) == 1200
    assert "Send it again in 20 min" in refused.text
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
        assert http.post(FORM, data={"lang": "en"}, headers={"X-Forwarded-For": CONSUMER}).status_code == 422
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
