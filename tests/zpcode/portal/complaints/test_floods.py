"""Floods by the owners of many networks, with the default limits: what each kind of honest complaint gets afterwards.

docs/complaints.md ("What a flood changes") has the same table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from tests.support.clock import Clock
from zpcode.portal.complaints.rate_limits import (
    ALL,
    DAY,
    FIRST_ALL,
    HOUR,
    MARKED_ALL,
    Admission,
    ComplaintRateLimits,
    Exhausted,
    LimitedComplaint,
    TooOften,
)
from zpcode.ratelimit import block

ITEM, OTHER_ITEM, PRODUCT, NONE = "/01/1/21/A", "/01/1/21/B", "/01/1", ""
WHOLE, TEXT, FIRST = Admission
Flood = Iterable[str]


def about(address: str | None, code: str, *, genuine: bool = False) -> LimitedComplaint:
    """A complaint about a code."""
    return LimitedComplaint(address, code, "/21/" in code, genuine)


def taken(limits: ComplaintRateLimits, complaint: LimitedComplaint) -> Admission | None:
    """How a complaint is taken, or None."""
    try:
        return limits.spend_complaint(complaint)
    except TooOften:
        return None


def one_provider_of_ipv6() -> Flood:
    """200 /48s of one /32, eight households of each."""
    return (f"2a00:1450:{network:x}:{household:x}::1" for network in range(200) for household in range(8))


def one_provider_of_ipv4() -> Flood:
    """Every /24 of one /16, eight addresses of each."""
    return (f"62.0.{network}.{address}" for network in range(256) for address in range(1, 9))


def sixty_four_providers() -> Flood:
    """64 /32s, 40 /48s of each, eight households of each, one provider after the other."""
    networks = ((provider, network) for provider in range(64) for network in range(40))
    return (f"2a{one:02x}:1:{two:x}:{household:x}::1" for one, two in networks for household in range(8))


def flooded(clock: Clock, flood: Flood, code: str) -> ComplaintRateLimits:
    """Limits after each address has sent as many complaints as it may."""
    limits = ComplaintRateLimits(clock=clock)
    for address in flood:
        while taken(limits, about(address, code)):
            pass
    return limits


def honest(number: int) -> str:
    """The address of somebody whose provider nobody else uses."""
    return f"60.{number}.0.1"


@pytest.mark.parametrize("code", [ITEM, PRODUCT, NONE])
@pytest.mark.parametrize("flood", [one_provider_of_ipv6, one_provider_of_ipv4])
def test_after_a_flood_from_one_provider_complaints_are_taken_with_their_photos(
    clock: Clock, flood: Callable[[], Flood], code: str
) -> None:
    limits = flooded(clock, flood(), code)
    assert [taken(limits, about(honest(number), code)) for number in range(10)] == [WHOLE] * 10


@pytest.mark.parametrize(("code", "first", "customers"), [(ITEM, TEXT, 1), (PRODUCT, WHOLE, 3), (NONE, WHOLE, 4)])
def test_after_a_flood_from_64_providers_complaints_are_taken(
    clock: Clock, code: str, first: Admission, customers: int
) -> None:
    """Of 70 further providers the first customer of each is served, and of one that nobody used yet several are."""
    limits = flooded(clock, sixty_four_providers(), code)
    assert [taken(limits, about(honest(number), code)) for number in range(70)] == [first] * 70
    neighbours = [taken(limits, about(f"59.0.{number}.1", code)) for number in range(20)]
    assert sum(one is not None for one in neighbours) >= customers


def test_the_customers_of_a_provider_that_floods_wait_until_the_next_day(clock: Clock) -> None:
    """What remains: people who share the block of an attacker share its part. The form names the hours and 12315."""
    limits = flooded(clock, one_provider_of_ipv6(), ITEM)
    with pytest.raises(TooOften) as refused:
        limits.spend_complaint(about("2a00:1450:ffff::1", ITEM))
    assert (refused.value.exhausted, refused.value.seconds) == (Exhausted.CODE, HOUR)
    clock.seconds += HOUR
    assert taken(limits, about("2a00:1450:ffff::1", ITEM)) is WHOLE


def test_a_whole_carrier_complains_about_one_product_from_one_block(clock: Clock) -> None:
    """A thousand customers behind one /32: the first with photos, all others as marked texts; none is refused."""
    limits = ComplaintRateLimits(clock=clock)
    customers = [about(f"2409:8928:{number // 5:x}:{number % 5:x}::1", PRODUCT) for number in range(1000)]
    outcomes = [taken(limits, one) for one in customers]
    assert (outcomes.count(WHOLE), outcomes.count(TEXT)) == (153, 847)


def everything_used_up(clock: Clock) -> ComplaintRateLimits:
    """Limits after a flood of invented codes that exhausts every bound that it can reach."""
    limits = ComplaintRateLimits(0, clock=clock)
    for number in range(ALL + MARKED_ALL):
        assert taken(limits, about(None, f"/01/{number}/21/X"))
    return limits


def test_the_first_complaint_of_a_day_about_a_genuine_item_is_taken_beyond_every_limit(clock: Clock) -> None:
    """Its text, once. A forged code, another item that an attacker invents, or a product has no such reserve."""
    limits = everything_used_up(clock)
    assert taken(limits, about(honest(1), PRODUCT)) is None
    assert taken(limits, about(honest(1), ITEM)) is None
    assert taken(limits, about(honest(1), ITEM, genuine=True)) is FIRST
    assert taken(limits, about(honest(2), ITEM, genuine=True)) is None
    assert taken(limits, about(honest(2), OTHER_ITEM, genuine=True)) is FIRST
    clock.seconds += DAY
    assert taken(limits, about(honest(2), ITEM, genuine=True)) is WHOLE


def test_it_is_taken_from_an_address_that_has_used_up_its_limit(clock: Clock) -> None:
    """Many people have one address. What was taken as any other complaint was the first of the day, too."""
    limits = ComplaintRateLimits(1, clock=clock)
    assert taken(limits, about(honest(1), PRODUCT)) is WHOLE
    assert taken(limits, about(honest(1), PRODUCT)) is None
    assert taken(limits, about(honest(1), ITEM, genuine=True)) is FIRST
    assert taken(limits, about(honest(2), OTHER_ITEM, genuine=True)) is WHOLE
    assert taken(limits, about(honest(2), OTHER_ITEM, genuine=True)) is None


def test_what_was_the_first_and_is_given_back_can_be_the_first_again(clock: Clock) -> None:
    limits = everything_used_up(clock)
    for _ in range(3):
        complaint = about(honest(1), ITEM, genuine=True)
        limits.give_back(complaint, limits.spend_complaint(complaint))
    assert taken(limits, about(honest(1), ITEM, genuine=True)) is FIRST


def test_an_enterprise_cannot_use_up_the_reserve_with_the_codes_that_it_has(clock: Clock) -> None:
    """It has a million genuine codes and 64 /32s. What it can store has a bound, and the first items of others are served."""
    limits = everything_used_up(clock)
    stored, number = 0, 0
    for provider in range(64):
        while taken(limits, about(f"2a{provider:02x}:1::1", f"/01/1/21/{number}", genuine=True)):
            number, stored = number + 1, stored + 1
    assert stored < FIRST_ALL * 3 // 4
    victims = [about(honest(one), f"/01/2/21/{one}", genuine=True) for one in range(70)]
    assert [taken(limits, one) for one in victims] == [FIRST] * 70


def test_a_block_is_what_one_provider_has() -> None:
    assert block("60.191.0.1") == block("60.191.255.1") != block("60.192.0.1")
    assert block("2400:3200::1") == block("2400:3200:ffff::1") != block("2400:3201::1")
    assert block("::ffff:60.191.0.1") == block("60.191.0.1")
    assert [block(inner) for inner in ("10.0.0.1", "::1", "nobody", None)] == [None] * 4
