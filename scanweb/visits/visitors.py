"""Who is looking, as little as possible: through what kind of program, and whether it was here just now.

Nothing personal leaves this module, except to `scanweb.http.rate_limits`, which forgets it: of an address only its /24 or /48 comes out;
a visitor is 8 bytes of keyed BLAKE2b (RFC 7693) under a salt that lives for a day and is then forgotten by everyone.
"""

from __future__ import annotations

import re
import secrets
import socket
from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import blake2b
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Final

import msgspec

from zpcode.wire import redis_keys

Network = IPv4Network | IPv6Network
_MAPPED = bytes(10) + b"\xff\xff"  # ::ffff:0:0/96, an IPv4 address in IPv6's clothes (RFC 4291, 2.5.5.2)

# What an app or a crawler says of itself when it fetches a page for a card, an index or a check, and
# nobody is looking. First match wins; a person's browser inside an app opens with Mozilla/5.0.
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
CHANNELS: Final = ("wechat", "alipay", "dingtalk", "browser", "other", "typed", "preview", "prefetch", "head")
_PEOPLE: Final = frozenset({"wechat", "alipay", "dingtalk", "browser", "other"})


def is_person(channel: str) -> bool:
    """Whether somebody saw a page that came through this channel by scanning a code."""
    return channel in _PEOPLE


@lru_cache(maxsize=4096)
def channel_of(agent: str) -> str:
    """The channel a User-Agent stands for. An app's name without a browser's is the app fetching a preview."""
    if _UNATTENDED.search(agent):
        return "preview"
    browser = agent.startswith("Mozilla/")
    for token, channel in _APPS:
        if token in agent:
            return channel if browser else "preview"
    return "browser" if browser else "other"


def is_prefetch(purpose: str) -> bool:
    """Whether a Purpose, Sec-Purpose or X-Moz header says that nobody looks yet."""
    lowered = purpose.lower()
    return any(word in lowered for word in _PREFETCH)


# Addresses ----------------------------------------------------------------------------------------------


def _packed(address: str) -> bytes | None:
    """An address as 4 or 16 bytes; one in IPv6's clothes as 4. Takes `[::1]:80` and `1.2.3.4:80` too."""
    try:
        if ":" not in address:
            return socket.inet_pton(socket.AF_INET, address)
        raw = socket.inet_pton(socket.AF_INET6, _bare(address))
    except (OSError, ValueError):
        return _loosely(address)
    return raw[12:] if raw.startswith(_MAPPED) else raw


def _loosely(address: str) -> bytes | None:
    """An address with blanks around it or a port behind it."""
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
    """An address cut to its /24 or /48, in CIDR notation; empty for none."""
    if not raw:
        return ""
    if len(raw) == 4:
        return f"{raw[0]}.{raw[1]}.{raw[2]}.0/24"
    return socket.inet_ntop(socket.AF_INET6, raw[:6] + bytes(10)) + "/48"


_PROXIES: Final = 1024


class ClientAddresses:
    """Reads the network a request came from. `trusted` are the proxies whose word is taken."""

    __slots__ = ("_believed", "_trusted")

    def __init__(self, trusted: Iterable[Network]) -> None:
        self._trusted = tuple(
            (found.max_prefixlen // 8, int(found.network_address), int(found.netmask)) for found in trusted
        )
        self._believed: dict[str, bool] = {}  # peers that are proxies of ours: few, and the same with every request

    def _is_proxy(self, peer: str | None) -> bool:
        """Whether a peer's X-Forwarded-For is believed."""
        if peer is None or not self._trusted:
            return bool(self._trusted)
        known = self._believed.get(peer)
        if known is None:
            raw = _packed(peer)
            known = raw is None or self._is_trusted(raw)
            if known and len(self._believed) < _PROXIES:
                self._believed[peer] = known
        return known

    def _is_trusted(self, raw: bytes) -> bool:
        number, length = int.from_bytes(raw, "big"), len(raw)
        for size, network, mask in self._trusted:  # noqa: SIM110 - a generator costs as much again
            if size == length and number & mask == network:
                return True
        return False

    def network_of(self, peer: str | None, forwarded: Sequence[str] = ()) -> str:
        """The /24 or /48 of the client, in CIDR notation; empty when it cannot be told."""
        return network(self.client_of(peer, forwarded))

    def client_of(self, peer: str | None, forwarded: Sequence[str] = ()) -> bytes:
        """The client's whole address, 4 or 16 bytes; none when it cannot be told. For `scanweb.http.rate_limits` alone.

        `peer` is who is connected to us (None: a unix socket, which only a proxy of ours reaches). The
        client is the right-most address in X-Forwarded-For that is not a trusted proxy's; what stands
        left of it anybody can have written.
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
    """One page view's visitor: the cut network, the channel, and the day's hash of who it is."""

    network: str
    channel: str
    mark: bytes


def mark(salt: bytes, network: str, agent: str, languages: str) -> bytes:
    """8 bytes that are the same for the same visitor on the same day and mean nothing on another."""
    message = f"{network}\n{agent}\n{languages}".encode("utf-8", "surrogatepass")
    return blake2b(message, key=salt, digest_size=8).digest()


_SALT_BYTES = 32
_SALT_SECONDS = 48 * 3600
_DAY = 86400
_AHEAD = 120


def _day(at: float) -> str:
    return f"{int(at) // _DAY}"


class Salts:
    """The day's salt: random, shared by all processes through Redis, kept nowhere else and for two days at most.

    While Redis is away a process uses a salt of its own.
    """

    __slots__ = ("_asked", "_clock", "_known", "_salt", "_shared", "_since")

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self._known: dict[str, bytes] = {}
        self._shared: set[str] = set()
        self._asked: list[str] = []
        self._since, self._salt = -_DAY, b""  # the day `current` was last asked for

    def current(self, at: float) -> bytes:
        """The salt of the UTC day `at` (seconds) lies in."""
        if self._since <= at < self._since + _DAY:
            return self._salt
        day = _day(at)
        self._since = int(at) // _DAY * _DAY
        self._salt = self._known.setdefault(day, secrets.token_bytes(_SALT_BYTES))
        return self._salt

    def asks(self) -> list[tuple[str | int | bytes, ...]]:
        """The Redis commands that fetch, or first make, what is not shared yet: today's, and soon tomorrow's."""
        now = self._clock()
        days = {_day(now), _day(now + _AHEAD)}
        self._known = {day: salt for day, salt in self._known.items() if day in days}
        self._shared &= days
        self._asked = sorted(days - self._shared)
        commands: list[tuple[str | int | bytes, ...]] = []
        for day in self._asked:
            mine = self._known.get(day) or secrets.token_bytes(_SALT_BYTES)
            key = redis_keys.salt(day)
            commands += [("SET", key, mine, "EX", _SALT_SECONDS, "NX"), ("GET", key)]
        return commands

    def answer(self, replies: Sequence[Any]) -> None:
        """The replies to `asks`."""
        for day, salt in zip(self._asked, replies[1::2], strict=False):
            if isinstance(salt, bytes) and len(salt) == _SALT_BYTES:
                self._known[day] = salt
                self._shared.add(day)
                self._since = -_DAY
