"""What strangers make a scan process and its Redis keep is bounded, however many codes and visitors they bring."""

from __future__ import annotations

import pytest
from redis import Redis

from scanweb.http.exchange import Request
from scanweb.lookup import lookup, redis_reader, seals
from scanweb.visits.visitors import channel_of
from tests.support import scan_factories as make
from tests.support.patience import eventually
from tests.support.scan_factories import IPHONE, WECHAT, ScanAuthority, ScanService
from zpcode.embedded.servers import ServerAddresses
from zpcode.wire import redis_keys

CODES = 40


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small bounds, so that a test exceeds them in a moment."""
    monkeypatch.setattr(seals, "MAX_REMEMBERED", 10)
    monkeypatch.setattr(lookup, "_MAX_RECENT", 10)
    monkeypatch.setattr(lookup, "_MAX_COLLECTED", 10)


def test_codes_and_views_that_a_process_remembers_are_bounded(service: ScanService, registry: ScanAuthority) -> None:
    """Forty codes of forty visitors: valid seals, recent views and collected cards stay within their bounds."""
    for index in range(CODES):
        service.get(registry.item(index), client=f"198.51.100.{index}")
    assert len(service.app.scan.resolver.seals._checked) == 10
    assert len(service.app.scan.resolver.lookup._recent_views) == 10
    assert len(service.app.scan.resolver.lookup._collected) <= 10


def test_invented_codes_leave_nothing(service: ScanService, registry: ScanAuthority, redis: Redis) -> None:
    """Forged seals, unknown products and numbers, typed texts: no memory, no history, no scan."""
    service.get(registry.item())
    eventually(lambda: redis.llen(redis_keys.INBOX) == 1)
    memory, keys = len(service.app.memory), set(redis.scan_iter())
    good = registry.item()
    for number in range(CODES):
        at = 1 + number
        forged = good[:at] + ("A" if good[at] != "A" else "B") + good[at + 1 :]
        for path in (
            forged,
            f"/01/{number:013}0",
            f"/01/{make.GTIN}/21/{number:012}",
            f"/q?code={number:012}",
            "/x" * number,
        ):
            service.get(path, client=f"198.51.100.{number}")
    assert len(service.app.scan.resolver.seals._checked) == 1
    assert len(service.app.memory) == memory
    assert set(redis.scan_iter()) == keys
    assert redis.llen(redis_keys.INBOX) == 1


def test_an_inbox_that_is_full_gets_nothing_more(
    addresses: ServerAddresses, registry: ScanAuthority, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While no worker runs. Scans wait in the process's buffer, and beyond its bound they are dropped and counted."""
    monkeypatch.setattr(redis_reader, "FULL_SECONDS", 3600.0)
    redis.rpush(redis_keys.INBOX, *range(1000))
    small = make.settings(addresses, registry.room, scan_stream_length=1000, scan_buffer=5)
    with ScanService(small) as service:
        service.get(registry.item())
        eventually(lambda: redis.llen(redis_keys.INBOX) == 1001)
        for index in range(CODES):
            service.get(registry.item(index))
        assert redis.llen(redis_keys.INBOX) == 1001
        assert service.app.health()["scans"] == {"waiting": 5, "sent": 1, "dropped": CODES - 5}


def test_there_is_one_salt_a_day(service: ScanService, registry: ScanAuthority, redis: Redis) -> None:
    """However many visitors come; it expires by itself."""
    for index in range(CODES):
        service.get(registry.item(index), client=f"198.51.100.{index}", agent=f"{IPHONE} {index}")
    salts = list(redis.scan_iter("zp:{salts}:*"))
    assert len(salts) == 2, "today's and tomorrow's"
    assert all(0 < redis.ttl(salt) <= 48 * 3600 for salt in salts)


def test_texts_of_a_request_are_cut_before_they_are_remembered() -> None:
    """User-Agents are remembered by channel: at most 4096 of 512 characters."""
    scope = {"method": "GET", "query_string": b"", "headers": [(b"user-agent", WECHAT.encode() * 1000)]}
    assert len(Request.read(scope).agent) == 512
    assert channel_of.cache_info().maxsize == 4096
