"""Rate limits of addresses: exact to the request, bounded in memory, not applied to trusted proxies."""

from __future__ import annotations

import logging
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanweb.http.rate_limits import ScanRateLimits
from zpcode.ratelimit import RateLimit, is_inner, payer

BEGIN = 1000.0
PUBLIC = bytes((203, 0, 113, 9))


def at(address: str) -> bytes:
    """An address as the service reads it."""
    return ip_address(address).packed if address else b""


def spent(limits: ScanRateLimits, address: bytes, times: int, now: float = BEGIN) -> list[int]:
    """The seconds to wait after each of this many scans."""
    return [limits.spend_scan(address, now) for _ in range(times)]


def test_a_burst_of_one_minute_then_the_steady_rate() -> None:
    limits = ScanRateLimits(60, 0)
    assert spent(limits, PUBLIC, 62) == [0] * 60 + [1, 1]
    assert limits.spend_scan(PUBLIC, BEGIN + 0.4) == 1
    assert limits.spend_scan(PUBLIC, BEGIN + 1.0) == 0
    assert limits.spend_scan(PUBLIC, BEGIN + 1.0) == 1
    assert spent(limits, PUBLIC, 61, BEGIN + 61.5) == [0] * 60 + [1]


def test_the_time_to_wait_is_in_whole_seconds() -> None:
    limits = ScanRateLimits(4, 0)
    assert spent(limits, PUBLIC, 5) == [0, 0, 0, 0, 15]
    assert limits.spend_scan(PUBLIC, BEGIN + 14) == 1
    assert limits.spend_scan(PUBLIC, BEGIN + 15) == 0


@given(each_minute=st.integers(1, 500), pauses=st.lists(st.floats(0, 5), min_size=1, max_size=400))
def test_no_minute_sees_more_than_two_budgets(each_minute: int, pauses: list[float]) -> None:
    """At any rhythm: the burst, then the steady rate."""
    limit, now, granted = RateLimit(each_minute), BEGIN, []
    for pause in pauses:
        now += pause
        if not limit.spend("one", now):
            granted.append(now)
    assert granted
    for first in granted:
        assert sum(first <= at < first + 60 for at in granted) <= 2 * each_minute


def test_nobody_waits_for_another() -> None:
    limits = ScanRateLimits(10, 10)
    spent(limits, PUBLIC, 50)
    assert limits.spend_scan(PUBLIC, BEGIN) > 0
    assert limits.spend_scan(at("203.0.113.10"), BEGIN) == 0
    assert limits.spend_scan(at("2001:db8::1"), BEGIN) == 0


def test_guesses_have_their_own_limit() -> None:
    limits = ScanRateLimits(1000, 3)
    assert [limits.spend_guess(PUBLIC, BEGIN) for _ in range(4)] == [0, 0, 0, 20]
    assert limits.check_guess(PUBLIC, BEGIN) == 20
    assert limits.check_guess(PUBLIC, BEGIN + 60) == 0
    assert limits.check_guess(at("203.0.113.10"), BEGIN) == 0
    assert limits.spend_scan(PUBLIC, BEGIN) == 0


def test_asking_whether_somebody_guesses_charges_nothing() -> None:
    limits = ScanRateLimits(0, 2)
    assert [limits.check_guess(PUBLIC, BEGIN) for _ in range(9)] == [0] * 9
    assert [limits.spend_guess(PUBLIC, BEGIN) for _ in range(3)] == [0, 0, 30]


def test_an_ipv6_customer_is_a_64_and_a_48_of_guessers_is_ten_of_them() -> None:
    limits = ScanRateLimits(2, 2)
    assert [limits.spend_scan(at(f"2001:db8:1:2::{n}"), BEGIN) for n in range(3)] == [0, 0, 30]
    assert limits.spend_scan(at("2001:db8:1:3::1"), BEGIN) == 0
    seconds = [limits.spend_guess(at(f"2001:db8:1:{n:x}::1"), BEGIN) for n in range(30)]
    assert seconds == [0] * 20 + [3] * 10
    assert limits.check_guess(at("2001:db8:1:ffff::1"), BEGIN) > 0
    assert limits.spend_guess(at("2001:db8:2::1"), BEGIN) == 0


def test_a_guess_that_is_refused_takes_nothing() -> None:
    """A neighbour in a /48 of guessers waits for the /48, and has all its own guesses afterwards."""
    limits = ScanRateLimits(0, 2)
    for n in range(10):
        assert [limits.spend_guess(at(f"2001:db8:1:{n:x}::1"), BEGIN) for _ in range(2)] == [0, 0]
    neighbour = at("2001:db8:1:ff::1")
    assert [limits.spend_guess(neighbour, BEGIN) for _ in range(5)] == [3] * 5
    assert [limits.spend_guess(neighbour, BEGIN + 6.5) for _ in range(3)] == [0, 0, 30]


def test_a_limit_of_zero_is_no_limit() -> None:
    limits = ScanRateLimits(0, 0)
    assert not any(spent(limits, PUBLIC, 10_000))
    assert not any(limits.spend_guess(at("2001:db8::1"), BEGIN) for _ in range(10_000))


@pytest.mark.parametrize(
    "address",
    ["", "127.0.0.1", "10.1.2.3", "172.16.0.1", "172.31.255.1", "192.168.1.1", "100.64.0.1", "100.127.9.9", "::1",
     "fd00::1", "fe80::1", "169.254.0.1"],
)  # fmt: skip
def test_a_proxy_that_is_not_configured_as_trusted_is_never_refused(
    address: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Else a missing setting would make all visitors one address. It is logged once, without the address."""
    limits = ScanRateLimits(1, 1)
    with caplog.at_level(logging.WARNING):
        assert not any(spent(limits, at(address), 5))
        assert not any(limits.spend_guess(at(address), BEGIN) for _ in range(5))
    assert len(caplog.records) == 1
    assert "ZPCODE_TRUSTED_PROXIES" in caplog.text
    assert not address or address not in caplog.text


@pytest.mark.parametrize("address", ["203.0.113.9", "172.32.0.1", "100.128.0.1", "11.0.0.1", "2001:db8::1", "fec0::1"])
def test_a_public_address_is_nobodys_proxy(address: str) -> None:
    assert not is_inner(at(address))
    assert payer(address) == at(address)[: 4 if "." in address else 8]


@pytest.mark.parametrize(
    "address", ["10.0.0.7", "127.0.0.1", "::1", "100.64.1.2", "fd00::1", "fe80::1%eth0", "::ffff:10.0.0.7"]
)
def test_an_inner_address_pays_for_nobody(address: str) -> None:
    """API and portal go by the same rule as the scan service."""
    assert payer(address) is None


def test_a_million_addresses_take_no_more_memory_than_the_bound() -> None:
    """Addresses over their limit are still refused afterwards; others are forgotten first."""
    limit, now = RateLimit(10, max_keys=1000), BEGIN
    assert [limit.spend("hammer", now) for _ in range(11)][-1] > 0
    for n in range(100_000):
        limit.spend(str(n), now)
        assert len(limit) <= 1000
    assert limit.spend("hammer", now) > 0


def test_where_everybody_hammers_the_memory_is_still_bounded() -> None:
    limit = RateLimit(2, max_keys=100)
    for n in range(1000):
        limit.spend(str(n), BEGIN)
        limit.spend(str(n), BEGIN)
    assert len(limit) <= 100


def test_who_has_paid_is_forgotten_though_there_is_room() -> None:
    """A key is a complete address, so it is kept only as long as it is needed. A new key removes up to 64 old ones."""
    limit = RateLimit(60)
    for n in range(100):
        limit.spend(str(n), BEGIN)
    for n in range(4):
        limit.spend(f"later {n}", BEGIN + 61)
    assert len(limit) == 4


def test_an_address_that_never_stops_does_not_keep_others_in_memory() -> None:
    limit = RateLimit(60)
    for second in range(300):
        for _ in range(2):
            limit.spend("hammer", BEGIN + second)
        for n in range(10):
            limit.spend(f"{second} {n}", BEGIN + second)
    assert len(limit) <= 12, "a second's visitors have paid a second later"
    assert limit.spend("hammer", BEGIN + 299) > 0


def test_who_has_paid_is_forgotten_first() -> None:
    limit = RateLimit(60, max_keys=10)
    for n in range(10):
        limit.spend(f"early {n}", BEGIN)
    for _ in range(61):
        limit.spend("late", BEGIN + 30)
    assert len(limit) == 1
    assert limit.spend("late", BEGIN + 30) > 0


def test_check_takes_nothing_and_spend_takes_one() -> None:
    """However often it is asked, `check` changes no later answer; one `spend` uses up a limit of one."""
    limit, limits = RateLimit(1), ScanRateLimits(0, 1)
    assert [limit.check("key", BEGIN) for _ in range(5)] == [0.0] * 5
    assert [limits.check_guess(PUBLIC, BEGIN) for _ in range(5)] == [0] * 5
    assert (limit.spend("key", BEGIN), limits.spend_guess(PUBLIC, BEGIN)) == (0.0, 0)
    assert 59 < limit.check("key", BEGIN) <= 60
    assert limits.check_guess(PUBLIC, BEGIN) == 60
    assert limit.check("key", BEGIN + 61) == 0.0
