"""Visitors, with as little about them as possible: the kind of program, the network, and a mark that lasts a day.

Of an address only its /24 (IPv6: /48) is passed on. The whole address goes to `scanweb.http.rate_limits` alone, which
keeps it in memory for two minutes at most. A visitor's mark is 8 bytes of keyed BLAKE2b (RFC 7693); its salt is used for
one day and then deleted everywhere.
"""

from __future__ import annotations

import logging
import re
import secrets
import socket
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from hashlib import blake2b
from ipaddress import IPv4Network, IPv6Network
from typing import Final

import msgspec
from redis.exceptions import ResponseError

from zpcode.ratelimit import is_inner
from zpcode.wire import redis_keys

_LOG = logging.getLogger(__name__)
Network = IPv4Network | IPv6Network
_MAPPED = bytes(10) + b"\xff\xff"  # ::ffff:0:0/96, an IPv4-mapped IPv6 address (RFC 4291, 2.5.5.2)

# User agents of apps and crawlers that fetch a page for a link card, an index or a check: no person reads it.
# A browser inside an app, which a person reads, begins with Mozilla/5.0.
_UNATTENDED: Final = re.compile(
    r"bot\b|bot[/;_-]|crawl|spider|slurp|preview|externalhit|facebookcatalog|whatsapp/|skypeuripreview"
    r"|embedly|pinterest/|vkshare|viber|snapchat|linkedin|iframely|outbrain|quora link|flipboard|tumblr"
    r"|wechatshareextension|micromessenger client|dingtalkbot|larkurl|qq-url-manager"
    r"|baidu-transcoder|yisou|sogou web|360spider|bytespider|petalbot|mediapartners-google|google-read-aloud"
    r"|googleother|apis-google|feedfetcher|lighthouse|chrome-lighthouse|headlesschrome|phantomjs|prerender",
    re.IGNORECASE,
)
_APPS: Final = (("MicroMessenger", "wechat"), ("AlipayClient", "alipay"), ("DingTalk", "dingtalk"))
_PREFETCH: Final = ("prefetch", "preview", "prerender")
_PEOPLE: Final = frozenset({"wechat", "alipay", "dingtalk", "browser", "other"})


def is_person(channel: str) -> bool:
    """Whether a page that went out through this channel was read by a person who scanned a code."""
    return channel in _PEOPLE


@lru_cache(maxsize=4096)
def channel_of(agent: str) -> str:
    """The channel of a User-Agent. An app's name without a browser's means that the app fetches a preview."""
    if _UNATTENDED.search(agent):
        return "preview"
    browser = agent.startswith("Mozilla/")
    for token, channel in _APPS:
        if token in agent:
            return channel if browser else "preview"
    return "browser" if browser else "other"


def is_prefetch(purpose: str) -> bool:
    """Whether a Purpose, Sec-Purpose or X-Moz header says that the page is fetched in advance."""
    lowered = purpose.lower()
    return any(word in lowered for word in _PREFETCH)


# Addresses ----------------------------------------------------------------------------------------------


def _packed(address: str) -> bytes | None:
    """An address as 4 or 16 bytes, IPv4-mapped ones as 4; None where it is none. `[::1]:80` and `1.2.3.4:80` are read too."""
    try:
        if ":" not in address:
            return socket.inet_pton(socket.AF_INET, address)
        raw = socket.inet_pton(socket.AF_INET6, _bare(address))
    except (OSError, ValueError):
        return _packed_ipv4(address)
    return raw[12:] if raw.startswith(_MAPPED) else raw


def _packed_ipv4(address: str) -> bytes | None:
    """An IPv4 address that may have blanks around it or a port behind it."""
    text = _bare(address.strip())
    if text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return socket.inet_pton(socket.AF_INET, text)
    except (OSError, ValueError):
        return None


def _bare(address: str) -> str:
    text = address.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    return text.partition("%")[0]


def network(raw: bytes) -> str:
    """An address (4 or 16 bytes) cut to its /24 or /48, in CIDR notation; empty for an empty address."""
    if not raw:
        return ""
    if len(raw) == 4:
        return f"{raw[0]}.{raw[1]}.{raw[2]}.0/24"
    return socket.inet_ntop(socket.AF_INET6, raw[:6] + bytes(10)) + "/48"


_MAX_PROXIES: Final = 1024


class ClientAddresses:
    """Finds the client's address. `trusted` are the networks of proxies whose X-Forwarded-For is believed."""

    __slots__ = ("_proxies", "_trusted")

    def __init__(self, trusted: Iterable[Network]) -> None:
        self._trusted = tuple((one.max_prefixlen // 8, int(one.network_address), int(one.netmask)) for one in trusted)
        self._proxies: dict[str, bool] = {}  # peers that are our proxies: few, the same with every request

    def _is_proxy(self, peer: str | None) -> bool:
        """Whether a peer's X-Forwarded-For is believed."""
        if peer is None or not self._trusted:
            return bool(self._trusted)
        is_proxy = self._proxies.get(peer)
        if is_proxy is None:
            raw = _packed(peer)
            is_proxy = raw is None or self._is_trusted(raw)
            if is_proxy and len(self._proxies) < _MAX_PROXIES:
                self._proxies[peer] = is_proxy
        return is_proxy

    def _is_trusted(self, raw: bytes) -> bool:
        number, length = int.from_bytes(raw, "big"), len(raw)
        for size, network, mask in self._trusted:  # noqa: SIM110 - a generator costs as much again
            if size == length and number & mask == network:
                return True
        return False

    def client_of(self, peer: str | None, forwarded: Sequence[str] = ()) -> bytes:
        """The client's whole address, 4 or 16 bytes; empty where it is unknown.

        `peer` is the other end of the connection (None: a unix socket, which only our proxy reaches). The client is the
        right-most address in X-Forwarded-For that is not a trusted proxy's. Addresses left of it can be invented.
        """
        if not self._is_proxy(peer):
            return (None if peer is None else _packed(peer)) or b""
        raw: bytes | None = None
        for line in reversed(forwarded):
            for part in reversed(line.split(",")):
                raw = _packed(part)
                if raw is None or not self._is_trusted(raw):
                    return raw or b""
        return (raw if raw is not None or peer is None else _packed(peer)) or b""


# Visitors -----------------------------------------------------------------------------------------------


class Visitor(msgspec.Struct, frozen=True, gc=False):
    """The visitor of one page view: the cut network, the channel, and the day's mark.

    `recorded` is False if this process has recorded as many scans of the network today as it may: then the view does not
    count and is not recorded.
    """

    network: str
    channel: str
    mark: bytes
    recorded: bool = True


def mark(salt: bytes, address: bytes, agent: str, languages: str) -> bytes:
    """A visitor's mark: 8 bytes, the same for the same visitor on one day, another value on every other day.

    A visitor is an address, whatever its programs call themselves: a program can send a thousand User-Agents. Of the
    address the mark has the cut network and four more bits (of the /64 for IPv6), so that a sixteenth of the network has
    the same mark and no mark stands for one address. Behind an inner address are many clients that cannot be told apart:
    there a visitor is what the program says about itself.
    """
    if is_inner(address):
        message = f"{network(address)}\n{agent}\n{languages}".encode("utf-8", "surrogatepass")
    elif len(address) == 4:
        message = address[:3] + _FOUR_BITS[address[3]]
    else:
        message = address[:6] + _FOUR_BITS[address[7]]
    return blake2b(message, key=salt, digest_size=8).digest()


_FOUR_BITS: Final = tuple(bytes((value & 15,)) for value in range(256))


_DAY: Final = redis_keys.DAY_SECONDS
_AHEAD: Final = 120  # seconds before midnight at which tomorrow's salt is fetched
RETRY_SECONDS: Final = 60
"""After a value that is no salt, none is fetched for so long."""


class Salts:
    """The day's salt: random, made by the authority's worker, shared by all processes through Redis, deleted after two days.

    While Redis does not have it or has something else there, each process uses its own salt: a visitor then counts once at
    each process. `clock` returns seconds since 1970.
    """

    __slots__ = ("_by_key", "_clock", "_requested", "_retry_at", "_salt", "_shared", "_since")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._by_key: dict[str, bytes] = {}
        self._shared: set[str] = set()
        self._requested: list[str] = []
        self._retry_at = 0.0
        self._since, self._salt = -_DAY, b""  # start of the day that `current` was called for last, and its salt

    def current(self, at: float) -> bytes:
        """The salt of the UTC day of `at` (seconds since 1970)."""
        if self._since <= at < self._since + _DAY:
            return self._salt
        self._since = int(at) // _DAY * _DAY
        self._salt = self._by_key.setdefault(redis_keys.salt(at), secrets.token_bytes(redis_keys.SALT_BYTES))
        return self._salt

    def commands(self) -> list[tuple[str | int | bytes, ...]]:
        """The Redis commands that fetch the salts not shared yet: today's, and tomorrow's before midnight.

        Each reply has at most one byte more than a salt, however long the value is.
        """
        now = self._clock()
        keys = {redis_keys.salt(now), redis_keys.salt(now + _AHEAD)}
        if self._by_key.keys() - keys:
            self._by_key = {key: salt for key, salt in self._by_key.items() if key in keys}
        self._shared &= keys
        waits = 0 < self._retry_at - now <= RETRY_SECONDS
        self._requested = [] if waits else sorted(keys - self._shared)
        return [("GETRANGE", key, 0, redis_keys.SALT_BYTES) for key in self._requested]

    def read(self, replies: Sequence[object]) -> None:
        """Take over the salts from the replies to `commands`. An empty reply means that there is none yet."""
        for key, salt in zip(self._requested, replies, strict=False):
            if isinstance(salt, bytes) and len(salt) == redis_keys.SALT_BYTES:
                self._by_key[key] = salt
                self._shared.add(key)
                self._since = -_DAY
            elif salt and isinstance(salt, (bytes, ResponseError)):
                self._retry_at = self._clock() + RETRY_SECONDS
                _LOG.warning("Redis has no salt under %s: visitors count once at each process", key)
