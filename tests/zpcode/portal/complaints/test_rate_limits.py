"""Rate limits of complaints, without a server."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.clock import Clock
from zpcode.portal.complaints import rate_limits as module
from zpcode.portal.complaints.rate_limits import (
    ALL,
    DAY,
    HOUR,
    MARKED_ALL,
    MARKED_BY_ADDRESS,
    MARKED_SHARE,
    NETWORK_SHARE,
    PHOTOS,
    REFUSED_PHOTO,
    SHARED,
    Admission,
    ComplaintRateLimits,
    Exhausted,
    LimitedComplaint,
    TooOften,
)
from zpcode.ratelimit import RateLimit

ITEM, PRODUCT = "/01/1/21/A", "/01/1"
WHOLE, TEXT = Admission.WHOLE, Admission.TEXT
Outcome = Admission | tuple[Exhausted, int]


def about(address: str | None, code: str = "") -> LimitedComplaint:
    """A complaint about a code."""
    return LimitedComplaint(address, code, item="/21/" in code)


def outcome(of: Callable[[LimitedComplaint], Admission], complaint: LimitedComplaint) -> Outcome:
    """How a complaint is taken, or whose limit is exhausted and for how many seconds."""
    try:
        return of(complaint)
    except TooOften as refused:
        return refused.exhausted, refused.seconds


def spent(limits: ComplaintRateLimits, address: str | None, code: str = "") -> Outcome:
    """The outcome of one complaint that is sent."""
    return outcome(limits.spend_complaint, about(address, code))


def test_complaints_of_an_hour_are_spent_and_come_back(clock: Clock) -> None:
    limits = ComplaintRateLimits(2, 3, clock)
    assert [spent(limits, "60.191.0.1") for _ in range(3)] == [WHOLE, WHOLE, (Exhausted.SENDER, 1800)]
    assert spent(limits, "60.191.0.2") is WHOLE
    clock.seconds += 1800
    assert spent(limits, "60.191.0.1") is WHOLE


def test_one_household_shares_a_limit_and_an_own_proxy_has_none(clock: Clock) -> None:
    limits = ComplaintRateLimits(1, 0, clock)
    assert spent(limits, "2400:3200::1") is WHOLE
    assert spent(limits, "2400:3200::2") == (Exhausted.SENDER, 3600)
    for address in ("127.0.0.1", "10.0.0.1", "nobody", None):
        assert [spent(limits, address) for _ in range(5)] == [WHOLE] * 5


@pytest.mark.parametrize("address", ["60.191.0.{}", "2400:3200:0:{}::1"])
def test_a_network_has_eight_times_the_limit_of_one_address(clock: Clock, address: str) -> None:
    """A /24, and a /48 with its 65 536 households; also of attempts and photos."""
    limits = ComplaintRateLimits(2, 0, clock)
    senders = [address.format(number) for number in range(1, 100)]
    assert [spent(limits, one) for one in senders].count(WHOLE) == 2 * NETWORK_SHARE
    assert spent(limits, "60.191.1.1") is WHOLE
    assert spent(limits, "2400:3200:1::1") is WHOLE
    attempts = [limits.spend_attempt(one) for one in senders for _ in range(module.ATTEMPTS * 2)]
    assert attempts.count(0) == 2 * NETWORK_SHARE * module.ATTEMPTS
    wrong_keys = [limits.spend_wrong_key(one) for one in senders for _ in range(module.ATTEMPTS * 2)]
    assert wrong_keys.count(0) == attempts.count(0)
    for one in senders[: NETWORK_SHARE + 1]:
        for _ in range(2 * PHOTOS):
            limits.charge_photo(one, refused=False)
    with pytest.raises(TooOften):
        limits.check_photos(senders[-1])


def test_beyond_the_limit_of_a_code_only_texts_are_taken_up_to_a_bound_for_each_day(clock: Clock) -> None:
    """An item and a product; the other codes and complaints about none are not affected."""
    for code, hourly in ((ITEM, 3), (PRODUCT, 3 * SHARED)):
        limits = ComplaintRateLimits(5, 3, clock)
        assert [spent(limits, None, code) for _ in range(hourly)] == [WHOLE] * hourly
        assert [spent(limits, None, code) for _ in range(hourly * MARKED_SHARE)] == [TEXT] * hourly * MARKED_SHARE
        assert spent(limits, None, code) == (Exhausted.CODE, HOUR)
        assert [spent(limits, None), spent(limits, None, "/01/2/21/B")] == [WHOLE, WHOLE]
        clock.seconds += HOUR
        assert [spent(limits, None, code) for _ in range(hourly)] == [WHOLE] * hourly
        assert spent(limits, None, code) == (Exhausted.CODE, HOUR)
        clock.seconds += DAY - HOUR
        assert [spent(limits, None, code) for _ in range(hourly + 1)] == [WHOLE] * hourly + [TEXT]


def test_beyond_the_limit_of_all_only_texts_are_taken_up_to_a_bound_for_each_day(clock: Clock) -> None:
    limits = ComplaintRateLimits(5, 0, clock)
    taken = [spent(limits, None, f"/01/{number}") for number in range(ALL + MARKED_ALL)]
    assert taken == [WHOLE] * ALL + [TEXT] * MARKED_ALL
    refused = spent(limits, None, "/01/1")
    assert isinstance(refused, tuple)
    assert refused[0] is Exhausted.ALL


def test_one_sender_cannot_use_up_the_marked_complaints_about_a_code(clock: Clock) -> None:
    limits = ComplaintRateLimits(100, 3, clock)
    assert [spent(limits, None, ITEM) for _ in range(3)] == [WHOLE] * 3
    assert [spent(limits, "60.191.0.1", ITEM) for _ in range(MARKED_BY_ADDRESS)] == [TEXT] * MARKED_BY_ADDRESS
    assert spent(limits, "60.191.0.1", ITEM) == (Exhausted.CODE, HOUR)
    neighbours = [spent(limits, f"60.191.0.{number}", ITEM) for number in range(2, 50)]
    assert neighbours.count(TEXT) == module.MARKED_BY_NETWORK - MARKED_BY_ADDRESS
    assert spent(limits, "60.191.1.1", ITEM) is TEXT
    assert spent(limits, "60.191.0.1", PRODUCT) is WHOLE


def test_the_attack_with_one_network_leaves_the_subject_to_its_victims(clock: Clock) -> None:
    """61 /64s of one /48 send 610 complaints about a product; three addresses of three providers send 30 about an item."""
    limits = ComplaintRateLimits(clock=clock)
    attack = [spent(limits, f"2400:3200:0:{number:x}::1", PRODUCT) for number in range(61) for _ in range(10)]
    assert attack.count(WHOLE) == module.BY_ADDRESS * NETWORK_SHARE
    assert [spent(limits, f"60.191.{number}.1", PRODUCT) for number in range(10)] == [WHOLE] * 10
    attack = [spent(limits, f"62.{number}.0.1", ITEM) for number in range(3) for _ in range(10)]
    assert attack.count(WHOLE) < 30
    assert [spent(limits, f"60.{number}.0.1", ITEM) for number in range(10)] == [WHOLE] * 10


def test_what_is_refused_for_its_code_is_not_charged_to_the_address(clock: Clock) -> None:
    limits = ComplaintRateLimits(5, 1, clock)
    assert [spent(limits, "60.191.0.1", ITEM) for _ in range(9)] == [WHOLE, TEXT, TEXT] + [(Exhausted.CODE, HOUR)] * 6
    assert [spent(limits, "60.191.0.1") for _ in range(2)] == [WHOLE] * 2
    assert spent(limits, "60.191.0.1") == (Exhausted.SENDER, 720)


def test_checking_takes_nothing_and_what_is_given_back_can_be_spent_again(clock: Clock) -> None:
    limits = ComplaintRateLimits(3, 1, clock)
    first, second = about("60.191.0.1", ITEM), about("60.191.1.1", ITEM)
    assert [outcome(limits.check_complaint, first) for _ in range(9)] == [WHOLE] * 9
    for _ in range(9):
        limits.give_back(first, limits.spend_complaint(first))
    assert limits.spend_complaint(first) is WHOLE
    for _ in range(9):
        limits.give_back(second, limits.spend_complaint(second))
    assert [spent(limits, "60.191.1.1", ITEM) for _ in range(3)] == [TEXT, TEXT, (Exhausted.CODE, HOUR)]


def test_a_photo_that_is_refused_costs_as_much_as_five(clock: Clock) -> None:
    for refused, photos in ((False, PHOTOS), (True, rounded_up(PHOTOS, REFUSED_PHOTO))):
        limits = ComplaintRateLimits(1, 0, clock)
        for _ in range(photos):
            limits.check_photos("60.191.0.1")
            limits.charge_photo("60.191.0.1", refused=refused)
        with pytest.raises(TooOften) as beyond:
            limits.check_photos("60.191.0.1")
        assert beyond.value.exhausted is Exhausted.PHOTOS
        limits.check_photos("60.191.1.1")
        clock.seconds += beyond.value.seconds
        limits.check_photos("60.191.0.1")


def rounded_up(dividend: int, divisor: int) -> int:
    """The quotient, rounded up."""
    return -(-dividend // divisor)


def test_without_room_the_key_that_spent_least_is_dropped_first(clock: Clock) -> None:
    limit = RateLimit(10, max_keys=2, period=HOUR)
    for key in (*["much"] * 9, "little", "new"):
        assert limit.spend(key, clock()) == 0
    assert [len(limit), limit.spend("much", clock()), limit.spend("much", clock()) > 0] == [2, 0, True]


def test_a_charge_goes_beyond_the_limit_and_can_be_given_back(clock: Clock) -> None:
    limit = RateLimit(6, period=HOUR)
    limit.charge("key", clock(), 8)
    assert limit.check("key", clock()) == pytest.approx(1800, abs=1)
    limit.charge("key", clock(), -3)
    assert [limit.spend("key", clock()) > 0 for _ in range(2)] == [False, True]
    unlimited = RateLimit(0)
    unlimited.charge("key", clock())
    assert len(unlimited) == 0
