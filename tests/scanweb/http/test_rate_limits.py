"""Budgets of addresses: exact to the request, bounded in memory, and blind to addresses of our own."""

from __future__ import annotations

import logging
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanweb.http.rate_limits import ScanRateLimits, is_inner
from zpcode.ratelimit import RateLimit

BEGIN = 1000.0
PUBLIC = bytes((203, 0, 113, 9))


def at(address: str) -> bytes:
    """An address as the service reads it."""
    return ip_address(address).packed if address else b""


def spent(hurry: ScanRateLimits, address: bytes, times: int, now: float = BEGIN) -> list[int]:
    """What each of so many scans is told."""
    return [hurry.wait(address, now) for _ in range(times)]


def test_a_minutes_worth_at_once_then_at_the_pace_of_the_budget() -> None:
    hurry = ScanRateLimits(60, 0)
    assert spent(hurry, PUBLIC, 62) == [0] * 60 + [1, 1]
    assert hurry.wait(PUBLIC, BEGIN + 0.4) == 1
    assert hurry.wait(PUBLIC, BEGIN + 1.0) == 0
    assert hurry.wait(PUBLIC, BEGIN + 1.0) == 1
    assert spent(hurry, PUBLIC, 61, BEGIN + 61.5) == [0] * 60 + [1]


def test_who_has_to_wait_is_told_how_long_in_whole_seconds() -> None:
    hurry = ScanRateLimits(4, 0)
    assert spent(hurry, PUBLIC, 5) == [0, 0, 0, 0, 15]
    assert hurry.wait(PUBLIC, BEGIN + 14) == 1
    assert hurry.wait(PUBLIC, BEGIN + 15) == 0


@given(each_minute=st.integers(1, 500), pauses=st.lists(st.floats(0, 5), min_size=1, max_size=400))
def test_no_minute_sees_more_than_two_budgets(each_minute: int, pauses: list[float]) -> None:
    """Whatever the rhythm: the burst, and the pace."""
    budget, now, granted = RateLimit(each_minute), BEGIN, []
    for pause in pauses:
        now += pause
        if not budget.spend("one", now):
            granted.append(now)
    for first in granted:
        assert sum(first <= at < first + 60 for at in granted) <= 2 * each_minute


def test_nobody_waits_for_another() -> None:
    hurry = ScanRateLimits(10, 10)
    spent(hurry, PUBLIC, 50)
    assert hurry.wait(PUBLIC, BEGIN) > 0
    assert hurry.wait(at("203.0.113.10"), BEGIN) == 0
    assert hurry.wait(at("2001:db8::1"), BEGIN) == 0


def test_guesses_have_a_budget_of_their_own() -> None:
    hurry = ScanRateLimits(1000, 3)
    assert [hurry.guessed(PUBLIC, BEGIN) for _ in range(4)] == [0, 0, 0, 20]
    assert hurry.guessing(PUBLIC, BEGIN) == 20
    assert hurry.guessing(PUBLIC, BEGIN + 60) == 0
    assert hurry.guessing(at("203.0.113.10"), BEGIN) == 0
    assert hurry.wait(PUBLIC, BEGIN) == 0


def test_asking_whether_somebody_guesses_charges_nothing() -> None:
    hurry = ScanRateLimits(0, 2)
    assert [hurry.guessing(PUBLIC, BEGIN) for _ in range(9)] == [0] * 9
    assert [hurry.guessed(PUBLIC, BEGIN) for _ in range(3)] == [0, 0, 30]


def test_an_ipv6_customer_is_a_64_and_a_48_of_guessers_is_ten_of_them() -> None:
    hurry = ScanRateLimits(2, 2)
    assert [hurry.wait(at(f"2001:db8:1:2::{n}"), BEGIN) for n in range(3)] == [0, 0, 30]
    assert hurry.wait(at("2001:db8:1:3::1"), BEGIN) == 0
    told = [hurry.guessed(at(f"2001:db8:1:{n:x}::1"), BEGIN) for n in range(30)]
    assert told == [0] * 20 + [3] * 10
    assert hurry.guessing(at("2001:db8:1:ffff::1"), BEGIN) > 0
    assert hurry.guessed(at("2001:db8:2::1"), BEGIN) == 0


def test_no_budget_is_no_limit() -> None:
    hurry = ScanRateLimits(0, 0)
    assert not any(spent(hurry, PUBLIC, 10_000))
    assert not any(hurry.guessed(at("2001:db8::1"), BEGIN) for _ in range(10_000))


@pytest.mark.parametrize(
    "address",
    ["", "127.0.0.1", "10.1.2.3", "172.16.0.1", "172.31.255.1", "192.168.1.1", "100.64.0.1", "100.127.9.9", "::1",
     "fd00::1", "fe80::1", "169.254.0.1"],
)  # fmt: skip
def test_a_proxy_nobody_told_us_to_trust_is_never_refused(address: str, caplog: pytest.LogCaptureFixture) -> None:
    """Else a forgotten setting would make all the world one address. It is said once, without the address."""
    hurry = ScanRateLimits(1, 1)
    with caplog.at_level(logging.WARNING):
        assert not any(spent(hurry, at(address), 5))
        assert not any(hurry.guessed(at(address), BEGIN) for _ in range(5))
    assert len(caplog.records) == 1
    assert "ZPCODE_TRUSTED_PROXIES" in caplog.text
    assert not address or address not in caplog.text


@pytest.mark.parametrize("address", ["203.0.113.9", "172.32.0.1", "100.128.0.1", "11.0.0.1", "2001:db8::1", "fec0::1"])
def test_a_public_address_is_nobodys_proxy(address: str) -> None:
    assert not is_inner(at(address))


def test_a_million_addresses_take_no_more_memory_than_the_bound() -> None:
    """Those that hammer are still refused afterwards; the others are forgotten first."""
    budget, now = RateLimit(10, kept=1000), BEGIN
    assert [budget.spend("hammer", now) for _ in range(11)][-1] > 0
    for n in range(100_000):
        budget.spend(str(n), now)
        assert len(budget) <= 1000
    assert budget.spend("hammer", now) > 0


def test_where_everybody_hammers_the_memory_is_still_bounded() -> None:
    budget = RateLimit(2, kept=100)
    for n in range(1000):
        budget.spend(str(n), BEGIN)
        budget.spend(str(n), BEGIN)
    assert len(budget) <= 100


def test_who_has_paid_is_forgotten_though_there_is_room() -> None:
    """A key is a whole address: it stays for as long as it is needed, and no longer. A new one makes 64 of them go."""
    budget = RateLimit(60)
    for n in range(100):
        budget.spend(str(n), BEGIN)
    for n in range(4):
        budget.spend(f"later {n}", BEGIN + 61)
    assert len(budget) == 4


def test_whoever_never_stops_keeps_nobody_else_from_being_forgotten() -> None:
    budget = RateLimit(60)
    for second in range(300):
        for _ in range(2):
            budget.spend("hammer", BEGIN + second)
        for n in range(10):
            budget.spend(f"{second} {n}", BEGIN + second)
    assert len(budget) <= 12, "a second's visitors have paid a second later"
    assert budget.spend("hammer", BEGIN + 299) > 0


def test_who_has_paid_is_forgotten_first() -> None:
    budget = RateLimit(60, kept=10)
    for n in range(10):
        budget.spend(f"early {n}", BEGIN)
    for _ in range(61):
        budget.spend("late", BEGIN + 30)
    assert len(budget) == 1
    assert budget.spend("late", BEGIN + 30) > 0
