"""Visitors: channels, shortened networks, trusted proxies, and a hash that changes every day."""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.exceptions import ResponseError

from scanweb.http.exchange import Request
from scanweb.visits import visitors
from scanweb.visits.visitors import ClientAddresses, Salts

NOBODY = ClientAddresses(())
PROXIES = ClientAddresses([ip_network("10.0.0.0/8"), ip_network("fd00::/8")])
PEOPLE = {
    "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 Chrome/126.0 Mobile MicroMessenger/8.0.49 NetType/5G": "wechat",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0) AppleWebKit/605.1 Mobile AlipayClient/10.6.0 Language/zh-Hans": "alipay",
    "Mozilla/5.0 (Linux; Android 13) AppleWebKit/537.36 AliApp(DingTalk/7.5.0) Mobile": "dingtalk",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Mobile/15E148 Safari/604.1": "browser",
    "Mozilla/5.0 (Linux; Android 14; HUAWEI) AppleWebKit/537.36 HuaweiBrowser/15.0 Mobile Safari/537.36": "browser",
    "QR Scanner/2.1 (Android)": "other",
    "": "other",
}
PREVIEWS = [
    "MicroMessenger Client",
    "WeChatShareExtensionNew/8.0.42.33 CFNetwork/1410",
    "AlipayClient/10.5.0 CFNetwork/1490",
    "DingTalkBot-LinkService/1.0 (+https://open-doc.dingtalk.com/microapp/faquestions/ftpfeu)",
    "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
    "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
    "Twitterbot/1.0",
    "WhatsApp/2.23.20.0 A",
    "TelegramBot (like TwitterBot)",
    "Mozilla/5.0 (compatible; Baiduspider/2.0; +http://www.baidu.com/search/spider.html)",
    "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 (compatible; Bytespider; spider-feedback@bytedance.com)",
    "Sogou web spider/4.0(+http://www.sogou.com/docs/help/webmasters.htm#07)",
    "Mozilla/5.0 AppleWebKit/537.36 (compatible; Discordbot/2.0; +https://discordapp.com)",
    "Mozilla/5.0 (X11; Linux x86_64) HeadlessChrome/126.0 Safari/537.36",
]


@pytest.mark.parametrize(("agent", "channel"), PEOPLE.items())
def test_a_person_is_recognised_by_the_app(agent: str, channel: str) -> None:
    assert visitors.channel_of(agent) == channel
    assert visitors.is_person(channel)


@pytest.mark.parametrize("agent", PREVIEWS)
def test_a_preview_or_a_crawler_is_never_a_person(agent: str) -> None:
    assert visitors.channel_of(agent) == "preview"
    assert not visitors.is_person("preview")


@pytest.mark.parametrize("channel", ["preview", "prefetch", "embedded", "head", "typed"])
def test_only_page_views_are_people(channel: str) -> None:
    assert not visitors.is_person(channel)


@pytest.mark.parametrize("purpose", ["prefetch", "Preview", "prefetch;prerender", "prerender"])
def test_a_purpose_says_that_a_page_is_fetched_in_advance(purpose: str) -> None:
    assert visitors.is_prefetch(purpose)


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_cut_to_24_bits(address: object) -> None:
    cut = ip_network(visitors.network(NOBODY.client_of(str(address))))
    assert cut.prefixlen == 24
    assert ip_address(str(address)) in cut


@given(st.ip_addresses(v=6))
def test_an_ipv6_address_is_cut_to_48_bits_and_a_mapped_one_is_ipv4(address: object) -> None:
    parsed = ip_address(str(address))
    mapped = getattr(parsed, "ipv4_mapped", None)
    cut = ip_network(visitors.network(NOBODY.client_of(str(address))))
    assert (cut.prefixlen, (mapped or parsed) in cut) == (24 if mapped else 48, True)


@given(st.text(max_size=60))
def test_what_is_no_address_gives_no_network(text: str) -> None:
    assert isinstance(visitors.network(NOBODY.client_of(text)), str)
    assert isinstance(visitors.network(PROXIES.client_of("10.0.0.1", (text,))), str)


@pytest.mark.parametrize(
    ("peer", "forwarded", "network"),
    [
        ("203.0.113.9", ("6.6.6.6",), "203.0.113.0/24"),
        ("10.0.0.1", ("6.6.6.6, 198.51.100.7",), "198.51.100.0/24"),
        ("10.0.0.1", ("6.6.6.6, 198.51.100.7, 10.9.9.9",), "198.51.100.0/24"),
        ("10.0.0.1", ("6.6.6.6", "198.51.100.7:51234"), "198.51.100.0/24"),
        ("fd00::1", ("[2001:db8:1:2::3]:443",), "2001:db8:1::/48"),
        ("::ffff:10.0.0.1", ("198.51.100.7",), "198.51.100.0/24"),
        ("10.0.0.1", ("6.6.6.6, unknown",), ""),
        ("10.0.0.1", (), "10.0.0.0/24"),
        (None, ("198.51.100.7",), "198.51.100.0/24"),
    ],
)
def test_the_client_is_the_right_most_address_no_proxy_of_ours_has(
    peer: str | None, forwarded: tuple[str, ...], network: str
) -> None:
    assert visitors.network(PROXIES.client_of(peer, forwarded)) == network


def test_a_header_is_nobodys_word_where_no_proxy_is_trusted() -> None:
    assert visitors.network(NOBODY.client_of("203.0.113.9", ("6.6.6.6",))) == "203.0.113.0/24"


SALT = b"s" * 32
NOON = 20_000.5 * 86400


def mark_of(address: str, agent: str = "agent", languages: str = "zh", salt: bytes = SALT) -> bytes:
    """The mark of a visitor."""
    return visitors.mark(salt, ip_address(address).packed, agent, languages)


def test_an_address_is_one_visitor_whatever_its_programs_call_themselves() -> None:
    """A program can invent a thousand User-Agents and languages; the next day the mark is another."""
    for address in ("203.0.113.7", "2001:db8:1:2::3"):
        assert len({mark_of(address, f"agent {number}", f"x-{number}") for number in range(1000)}) == 1
        assert mark_of(address) != mark_of(address, salt=b"t" * 32)
        assert len(mark_of(address)) == 8


def test_an_ipv6_subnet_is_one_visitor() -> None:
    """A phone changes the last 64 bits by itself (RFC 8981)."""
    assert mark_of("2001:db8:1:2::3") == mark_of("2001:db8:1:2:ffff::9")


@pytest.mark.parametrize("network", ["203.0.113.0/24", "2001:db8:1::/52"])
def test_no_mark_stands_for_one_address(network: str) -> None:
    """A network has sixteen marks: enough for neighbours to count apart, too few to find an address by trying all."""
    step = 1 if ":" not in network else 2**64
    first = int(ip_network(network).network_address)
    addresses = [str(ip_address(first + step * number)) for number in range(256)]
    marks = Counter(map(mark_of, addresses))
    assert len(marks) == 16
    assert set(marks.values()) == {16}
    assert mark_of("203.0.114.0") not in marks
    assert mark_of("2001:db8:2::") not in marks


@pytest.mark.parametrize("address", ["10.0.0.1", "127.0.0.1", "100.64.0.1", "fd00::1"])
def test_behind_an_inner_address_visitors_differ_by_their_programs(address: str) -> None:
    """It is a proxy that does not pass on its clients' addresses: all consumers would be one visitor."""
    assert len({mark_of(address), mark_of(address, "other"), mark_of(address, languages="en")}) == 3


def test_the_salt_changes_daily_and_the_old_one_is_forgotten() -> None:
    now = [1_790_000_000.0]
    salts = Salts(lambda: now[0])
    today = salts.current(now[0])
    assert salts.current(now[0]) == today
    now[0] += 2 * 86400
    salts.commands()
    assert salts.current(now[0]) != today
    assert salts.current(1_790_000_000.0) != today, "nobody can bring it back"


def test_tomorrows_salt_is_fetched_before_midnight() -> None:
    midnight = 20_000 * 86400.0
    salts = Salts(lambda: midnight - 60)
    assert salts.commands() == [("GETRANGE", f"zp:{{salts}}:{day}", 0, 32) for day in (19_999, 20_000)]
    salts.read([b"a" * 32, b"b" * 32])
    assert (salts.current(midnight - 60), salts.current(midnight + 1)) == (b"a" * 32, b"b" * 32)
    assert salts.commands() == []


def test_a_salt_that_is_not_made_yet_is_asked_for_again() -> None:
    salts = Salts(lambda: NOON)
    for _ in range(3):
        assert len(salts.commands()) == 1
        salts.read([b""])
    own = salts.current(NOON)
    assert len(own) == 32
    salts.commands()
    salts.read([SALT])
    assert salts.current(NOON) == SALT


@pytest.mark.parametrize("wrong", [b"s", b"s" * 31, b"s" * 33, ResponseError("WRONGTYPE"), ResponseError("NOPERM")])
def test_a_salt_of_another_form_is_not_used_and_not_fetched_again_for_a_minute(wrong: object) -> None:
    """Each process goes on with its own salt: a visitor counts once at each process."""
    now = [NOON]
    salts = Salts(lambda: now[0])
    salts.commands()
    salts.read([wrong])
    own = salts.current(NOON)
    assert len(own) == 32
    for seconds in (0.0, 0.5, 59.0):
        now[0] = NOON + seconds
        assert salts.commands() == []
        salts.read([])
        assert salts.current(now[0]) == own
    now[0] = NOON + 61
    assert len(salts.commands()) == 1
    salts.read([SALT])
    assert salts.current(now[0]) == SALT


def test_a_clock_that_is_set_back_does_not_keep_a_process_from_the_salt() -> None:
    now = [NOON]
    salts = Salts(lambda: now[0])
    salts.commands()
    salts.read([b"s"])
    now[0] -= 3600
    assert len(salts.commands()) == 1


def test_of_a_header_no_more_is_looked_at_than_a_browser_sends() -> None:
    """A pattern over a megabyte of User-Agent would hold up every other scan of the process."""
    scope = {
        "method": "GET",
        "query_string": b"",
        "headers": [
            (name, b"feishu" * 200_000)
            for name in (b"user-agent", b"accept", b"accept-language", b"purpose", b"x-moz", b"x-forwarded-for")
        ],
    }
    request = Request.read(scope)
    texts = (request.agent, request.accept, request.languages, request.purpose, *request.forwarded)
    assert [len(text) for text in texts] == [512] * 5
