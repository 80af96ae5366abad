"""What counts as a scan, what is kept of it, and when "first" may be said."""
# A test's name is its sentence; a docstring stands where there is more to say.

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet
from redis import Redis
from sqlalchemy import text

from scanweb.lookup import history as item_history
from tests.support import scan_factories as make
from tests.support.databases import as_owner
from tests.support.patience import eventually
from tests.support.scan_factories import GTIN, IPHONE, WECHAT, ScanAuthority, ScanService, events
from zpcode.embedded.servers import ServerAddresses
from zpcode.wire import card, redis_keys, scan_event
from zpcode.wire.payload import Identity


def test_the_first_scan_is_called_the_first_and_the_next_the_second(
    service: ScanService, registry: ScanAuthority
) -> None:
    path = registry.item()
    assert "first time" in service.get(path, client="198.51.100.1").text
    second = service.get(path, client="192.0.2.77").text
    assert "scan number 2" in second
    assert "first time" not in second
    assert "第 3 次" in service.get(path, client="203.0.113.200", language="zh-CN").text


def test_a_reload_by_the_same_visitor_within_ten_minutes_does_not_count(
    service: ScanService, registry: ScanAuthority
) -> None:
    path = registry.item()
    scans = [service.json(path)["history"]["scans"] for _ in range(3)]
    assert scans == [1, 1, 1], "and gets the same page again"
    assert service.json(path, client="192.0.2.1")["history"]["scans"] == 2


def test_an_address_with_300_user_agents_is_one_visitor(service: ScanService, registry: ScanAuthority) -> None:
    """Before, anybody could make a good code "scanned 300 times" from one address."""
    path = registry.item()
    scans = {service.json(path, agent=f"{IPHONE} {number}")["history"]["scans"] for number in range(300)}
    assert scans == {1}
    assert service.json(path, client="192.0.2.1")["history"]["scans"] == 2


def test_an_office_behind_one_address_is_answered_and_raises_no_alarm(
    service: ScanService, registry: ScanAuthority
) -> None:
    """Twelve colleagues with a phone each look at twelve packages: each package was scanned by one visitor."""
    for package in range(12):
        answers = [service.json(registry.item(package), agent=f"{IPHONE} phone/{phone}") for phone in range(12)]
        assert {answer["verdict"] for answer in answers} == {"verified"}
        assert {answer["history"]["scans"] for answer in answers} == {1}


def test_a_network_leaves_no_more_scans_in_a_day_than_its_limit(
    addresses: ServerAddresses, registry: ScanAuthority, redis: Redis
) -> None:
    """Everybody is answered; beyond the limit a scan is not stored and does not count. Another network is not affected."""
    with ScanService(make.settings(addresses, registry.room, scans_recorded_per_day=5)) as limited:
        answers = [limited.json(registry.item(index), client=f"198.51.100.{index}") for index in range(20)]
        assert {answer["verdict"] for answer in answers} == {"verified"}
        assert limited.json(registry.item(30), client="192.0.2.1")["history"]["scans"] == 1
        assert limited.app.meters.unrecorded == 15
    assert len(events(redis)) == 6
    stored = sum(len(redis.hgetall(key)) for key in redis.scan_iter("zp:{b:7}:h:*"))
    assert stored == 6


def replies_to(redis: Redis, *queries: item_history.ItemQuery) -> list[item_history.ItemReply]:
    call: Any = redis.execute_command
    replies = call(*item_history.command(queries, evicting=False))
    return item_history.read_all(replies, len(queries))


def view(now: int, visitor: bytes = b"anna", index: int = 5) -> item_history.ItemQuery:
    return item_history.ItemQuery(7, index, now, visitor, own=False)


def test_after_ten_minutes_the_same_visitor_counts_again(registry: ScanAuthority, redis: Redis) -> None:
    registry.item()
    registry.project()
    redis.set(redis_keys.history_complete(7), 1)
    start = 1_790_000_000
    numbers = [replies_to(redis, view(start + after))[0] for after in (0, 300, 580, 620)]
    assert [(reply.history.scans, reply.counted) for reply in numbers if reply.history] == [
        (1, True), (1, False), (1, False), (2, True),
    ]  # fmt: skip


def test_visitors_who_come_and_go_count_once_each_in_ten_minutes(registry: ScanAuthority, redis: Redis) -> None:
    """Four visitors are remembered at a time; each reload shows the visitor's own number."""
    registry.item()
    registry.project()
    redis.set(redis_keys.history_complete(7), 1)
    visitors = [b"anna", b"bert", b"carl", b"dora"]
    for now in (1_790_000_000, 1_790_000_060):
        replies = [replies_to(redis, view(now, visitor))[0] for visitor in visitors]
        assert [reply.history.scans for reply in replies if reply.history] == [1, 2, 3, 4]


def test_a_history_never_grows_beyond_what_its_bucket_holds_compactly(registry: ScanAuthority, redis: Redis) -> None:
    registry.item()
    registry.project()
    redis.set(redis_keys.history_complete(7), 1)
    for visitor in range(40):
        for index in range(100):
            query = item_history.ItemQuery(
                7, index, 1_790_000_000, visitor.to_bytes(4, "big"), "巴音郭楞蒙古自治州库尔勒", own=False
            )
            replies_to(redis, query)
    assert redis.object("encoding", redis_keys.history(7, 5)[0]) == b"listpack"


UNATTENDED = [
    {"method": "HEAD"},
    {"purpose": "prefetch"},
    {"sec_purpose": "prefetch;prerender"},
    {"purpose": "preview"},
    {"sec_fetch_dest": "image"},
    {"sec_fetch_dest": "iframe"},
    {"sec_fetch_dest": "empty"},
    {"agent": "MicroMessenger Client"},
    {"agent": "DingTalkBot-LinkService/1.0 (+https://open-doc.dingtalk.com)"},
    {"agent": "facebookexternalhit/1.1"},
    {"agent": "Mozilla/5.0 (compatible; Baiduspider/2.0; +http://www.baidu.com/search/spider.html)"},
    {"agent": "TelegramBot (like TwitterBot)"},
    {"agent": "WhatsApp/2.23.20.0"},
    {"agent": "AlipayClient/10.5 CFNetwork/1490 Darwin/23.2.0"},
]


@pytest.mark.parametrize("how", UNATTENDED, ids=str)
def test_heads_previews_crawlers_and_images_never_count(
    service: ScanService, registry: ScanAuthority, redis: Redis, how: dict[str, str]
) -> None:
    service.get(registry.item(), **how)
    assert "first time" in service.get(registry.item()).text
    assert [event.counted for event in _settled(redis, 2)] == [False, True]


def _settled(redis: Redis, number: int) -> list[scan_event.ScanEvent]:
    eventually(lambda: len(events(redis)) >= number, seconds=5)
    return events(redis)


def test_a_page_that_a_browser_opens_counts(service: ScanService, registry: ScanAuthority, redis: Redis) -> None:
    """Also if a link on another site led to it."""
    service.get(registry.item(), sec_fetch_dest="document", sec_fetch_site="cross-site")
    assert [event.counted for event in _settled(redis, 1)] == [True]


def test_people_inside_an_app_count(service: ScanService, registry: ScanAuthority, redis: Redis) -> None:
    service.get(registry.item(), agent=WECHAT)
    (event,) = _settled(redis, 1)
    assert (event.channel, event.counted, event.batch, event.index) == ("wechat", True, 7, 0)


def test_a_code_without_seal_and_a_bad_serial_never_count(service: ScanService, registry: ScanAuthority) -> None:
    service.get(make.item_identity().path)
    service.get(make.compact_identity(wrong=True).path)
    service.get(registry.item(1000))
    assert service.json(registry.item())["history"]["scans"] == 1
    assert service.json(make.compact_identity().path)["history"]["scans"] == 1


def test_two_scans_at_once_never_both_hear_that_they_are_the_first(
    service: ScanService, registry: ScanAuthority
) -> None:
    path = registry.item()

    async def together() -> list[int]:
        asked = [service.aget(path, client=f"10.0.{n}.1", accept="application/json") for n in range(50)]
        return [response.json()["history"]["scans"] for response in await asyncio.gather(*asked)]

    assert sorted(service.do(together())) == list(range(1, 51))


def test_histories_that_redis_lost_come_back_from_the_database(
    service: ScanService, registry: ScanAuthority, redis: Redis
) -> None:
    registry.remember(0, 4, "杭州|Hangzhou")
    redis.delete(redis_keys.history_complete(7))  # as after a rebuild: the batch is not known to be unscanned
    page = service.get(registry.item()).text
    assert "scan number 5" in page
    assert "Hangzhou" in page
    assert "杭州" in service.get(registry.item(), language="zh-CN").text
    assert service.json(registry.item(1), client="192.0.2.9")["history"]["scans"] == 1, "a neighbour is complete too"


def test_a_bucket_is_read_from_the_database_once(service: ScanService, registry: ScanAuthority, redis: Redis) -> None:
    redis.delete(redis_keys.history_complete(7))
    with service.reads() as keys:
        service.get(registry.item(0))
        assert [key for key in keys if key.startswith("h:")], "the bucket has to be read at all"
        keys.clear()
        service.get(registry.item(1))
    assert keys == []


def test_first_is_never_said_while_the_history_is_not_known(
    service: ScanService, registry: ScanAuthority, redis: Redis
) -> None:
    redis.delete(redis_keys.history_complete(7))
    service.get(registry.item(500))
    with as_owner(registry.engine) as connection:
        connection.execute(text("REVOKE SELECT ON scan_view FROM zpcode_scan"))
    page = service.get(registry.item()).text
    assert "Verified" in page
    assert "not available now" in page
    assert "first time" not in page


def test_product_and_lot_codes_have_no_history(service: ScanService, registry: ScanAuthority) -> None:
    for identity in (Identity(GTIN), Identity(GTIN, lot="L2026")):
        assert service.json(registry.sealed(identity))["history"] is None
        assert "many pieces" in service.get(registry.sealed(identity)).text


def test_nothing_of_an_address_but_its_network_reaches_redis(
    service: ScanService, registry: ScanAuthority, redis: Redis
) -> None:
    addresses = ["203.0.113.57", "2001:db8:77:1234:5678:9abc:def0:1", "::ffff:198.51.100.23"]
    for client in addresses:
        service.get(registry.item(), client=client)
    recorded = _settled(redis, 3)
    assert [event.network for event in recorded] == ["203.0.113.0/24", "2001:db8:77::/48", "198.51.100.0/24"]
    everything = b"".join(redis.dump(key) or b"" for key in redis.keys("*"))
    for raw in ("203.0.113.57", "1234:5678", "198.51.100.23"):
        assert raw.encode() not in everything


def test_x_forwarded_for_is_believed_from_a_trusted_proxy_only(
    addresses: ServerAddresses, registry: ScanAuthority, redis: Redis
) -> None:
    with ScanService(make.settings(addresses, registry.room, trusted_proxies="10.0.0.0/8")) as service:
        lie = {"x_forwarded_for": "6.6.6.6, 198.51.100.7, 10.1.2.3"}
        service.get(registry.item(), client="10.0.0.1", **lie)
        service.get(registry.item(), client="203.0.113.5", **lie)
        recorded = _settled(redis, 2)
    assert [event.network for event in recorded] == ["198.51.100.0/24", "203.0.113.0/24"]


def test_the_visitor_hash_needs_the_days_salt_and_all_processes_share_it(
    addresses: ServerAddresses, registry: ScanAuthority, redis: Redis
) -> None:
    with (
        ScanService(make.settings(addresses, registry.room)) as one,
        ScanService(make.settings(addresses, registry.room)) as other,
    ):
        assert one.json(registry.item())["history"]["scans"] == 1
        assert other.json(registry.item())["history"]["scans"] == 1, "the same visitor at another process"
        salts: Any = redis.keys("zp:{salts}:*")
        assert {one.app.salts.current(time.time()), other.app.salts.current(time.time())} < {
            redis.get(salt) for salt in salts
        }
        first, second = _settled(redis, 2)
    assert first.visitor == second.visitor
    assert len(first.visitor) == 8


def test_the_city_comes_from_the_database_of_places(
    addresses: ServerAddresses, registry: ScanAuthority, tmp_path: Path, redis: Redis
) -> None:
    writer = MMDBWriter(ip_version=6, ipv4_compatible=True, database_type="Test-City")
    writer.insert_network(IPSet(["203.0.113.0/24"]), {"city": {"names": {"zh-CN": "宁波", "en": "Ningbo"}}})
    writer.to_db_file(str(tmp_path / "city.mmdb"))
    with ScanService(make.settings(addresses, registry.room, geoip_database=tmp_path / "city.mmdb")) as service:
        service.get(registry.item())
        page = service.get(registry.item(), client="192.0.2.4")
    assert "in Ningbo" in page.text
    assert [event.city for event in events(redis)] == ["宁波|Ningbo", ""]


def test_without_places_the_page_says_the_time_only(service: ScanService, registry: ScanAuthority) -> None:
    service.get(registry.item())
    assert service.json(registry.item(), client="192.0.2.4")["history"]["first_city"] == ""


def test_a_scanned_code_costs_at_most_64_bytes_of_redis(registry: ScanAuthority, redis: Redis) -> None:
    """One code in ten of a batch, so that buckets are thinly filled; right after the scans, visits included."""
    registry.put({card.batch_key(9): make.batch(9, quantity=200_000)})
    redis.set(redis_keys.history_complete(9), 1)
    replies_to(redis, item_history.ItemQuery(9, 1, 1))
    before = int(redis.info("memory")["used_memory"])
    for first in range(0, 200_000, 2000):
        indexes = range(first, first + 2000, 10)
        queries = [item_history.ItemQuery(9, index, 1_790_000_000, b"anna", "杭州|Hangzhou") for index in indexes]
        assert all(reply.counted for reply in replies_to(redis, *queries))
    assert (int(redis.info("memory")["used_memory"]) - before) / 20_000 <= 64


def test_scans_of_every_kind_reach_the_stream_but_none_of_what_is_not_ours(
    service: ScanService, registry: ScanAuthority, redis: Redis
) -> None:
    service.get(registry.item(2), agent=IPHONE)
    service.get(registry.sealed(Identity(GTIN, lot="L2026")), language="zh-CN")
    service.get("/q?code=" + GTIN)
    service.get(Identity("09501101530010").path)
    service.get("/" + "A" * 107 + registry.item(3)[108:])
    service.get(registry.item(4))
    recorded = _settled(redis, 4)
    assert [(event.verdict, event.channel, event.language, event.lot) for event in recorded] == [
        ("verified", "browser", "en", "L2026"),
        ("verified", "browser", "zh-CN", "L2026"),
        ("seal_missing", "typed", "en", ""),
        ("verified", "browser", "en", "L2026"),
    ]


def test_many_scans_at_once_of_forgotten_histories_all_get_theirs(
    service: ScanService, registry: ScanAuthority, redis: Redis
) -> None:
    redis.delete(redis_keys.history_complete(7))
    for index in range(0, 1000, 5):
        registry.remember(index, 2)
        registry.item(index)

    async def together() -> set[int]:
        asked = [service.aget(registry.item(index), accept="application/json") for index in range(0, 1000, 5)]
        return {(response.json()["history"] or {"scans": 0})["scans"] for response in await asyncio.gather(*asked)}

    assert service.do(together()) == {3}
