"""Rate limits of complaints, without a server."""

from __future__ import annotations

from tests.support.clock import Clock
from zpcode.portal.complaints.rate_limits import HOUR, SHARED, ComplaintRateLimits
from zpcode.ratelimit import RateLimit


def test_complaints_of_an_hour_are_spent_and_come_back(clock: Clock) -> None:
    rate_limits = ComplaintRateLimits(2, 3, clock)
    assert [rate_limits.spend_complaint("60.191.0.1", "", item=False) for _ in range(3)] == [0, 0, 1800]
    assert rate_limits.spend_complaint("60.191.0.2", "", item=False) == 0
    clock.seconds += 1800
    assert rate_limits.spend_complaint("60.191.0.1", "", item=False) == 0


def test_one_household_shares_a_limit_and_an_own_proxy_has_none(clock: Clock) -> None:
    rate_limits = ComplaintRateLimits(1, 0, clock)
    assert rate_limits.spend_complaint("2400:3200::1", "", item=False) == 0
    assert rate_limits.spend_complaint("2400:3200::2", "", item=False) > 0
    for address in ("127.0.0.1", "10.0.0.1", "nobody", None):
        assert [rate_limits.spend_complaint(address, "", item=False) for _ in range(5)] == [0] * 5


def test_what_is_refused_for_its_code_is_not_charged_to_the_address(clock: Clock) -> None:
    rate_limits = ComplaintRateLimits(5, 1, clock)
    assert rate_limits.spend_complaint("60.191.0.1", "/01/1/21/A", item=True) == 0
    assert [rate_limits.spend_complaint("60.191.0.1", "/01/1/21/A", item=True) > 0 for _ in range(9)] == [True] * 9
    assert [rate_limits.spend_complaint("60.191.0.1", "", item=False) for _ in range(4)] == [0] * 4
    assert [rate_limits.spend_complaint(None, "/01/1", item=False) for _ in range(SHARED)] == [0] * SHARED
    assert rate_limits.spend_complaint(None, "/01/1", item=False) > 0


def test_without_room_the_key_that_spent_least_is_dropped_first(clock: Clock) -> None:
    limit = RateLimit(10, max_keys=2, period=HOUR)
    for key in (*["much"] * 9, "little", "new"):
        assert limit.spend(key, clock()) == 0
    assert [len(limit), limit.spend("much", clock()), limit.spend("much", clock()) > 0] == [2, 0, True]
