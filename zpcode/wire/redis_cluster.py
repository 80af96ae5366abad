"""How a Redis Cluster is written down, divided and asked about: its address, its slots, who owns them.

Shared by the authority, which writes every shard, and the scan service, which reads them. Pure: no connection.
A slot is the CRC-16 (XMODEM) of a key's hash tag modulo 16384 (Redis Cluster specification, "Key distribution model").
"""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Sequence
from functools import lru_cache
from itertools import count
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

SLOTS: Final = 16384
_SCHEMES: Final = {"redis+cluster": "redis", "rediss+cluster": "rediss"}

Span = tuple[int, int]
"""Slots in a row, both ends included."""
Node = tuple[str, int]
"""Host and port of one node."""


def is_cluster(url: str) -> bool:
    """Whether an address names a cluster: `redis+cluster://`, or with TLS `rediss+cluster://`."""
    return url.partition("://")[0] in _SCHEMES


def named(url: str) -> list[Node]:
    """The nodes that a cluster's address names: one or, better, several, as `redis+cluster://USER:WORD@A:1,B:2`."""
    found = []
    for place in urlsplit(url).netloc.rpartition("@")[2].split(","):
        host, colon, port = place.rpartition(":")
        if not colon or not port.isdigit():
            host, port = place, "6379"
        found.append((host.strip("[]"), int(port)))
    return found


def node_url(url: str, node: Node) -> str:
    """The address of one node, with the credentials and options of its cluster's."""
    parts = urlsplit(url)
    who, at, _ = parts.netloc.rpartition("@")
    host = f"[{node[0]}]" if ":" in node[0] else node[0]
    return urlunsplit(parts._replace(scheme=_SCHEMES[parts.scheme], netloc=f"{who}{at}{host}:{node[1]}"))


def slot_of(key: str) -> int:
    """The slot of a key: of what stands between its first braces, if anything does."""
    start = key.find("{")
    if start >= 0:
        end = key.find("}", start + 1)
        if end > start + 1:
            key = key[start + 1 : end]
    return crc_hqx(key.encode("utf-8"), 0) % SLOTS


@lru_cache(maxsize=4096)
def tag_in(slot: int, word: str) -> str:
    """The shortest `word:NUMBER` that, as a hash tag, lies in a slot."""
    prefix = f"{word}:".encode("ascii")
    return next(f"{word}:{number}" for number in count() if crc_hqx(b"%b%d" % (prefix, number), 0) % SLOTS == slot)


def owners(reply: object, asked: Node) -> dict[Node, tuple[Span, ...]]:
    """The primaries and their slots out of the reply to CLUSTER SLOTS that node `asked` gave; in the order of slots.

    A node that does not know its own address, or is reached through another, leaves the host empty: then it is the
    host that was asked. Empty where the reply is none.
    """
    if not isinstance(reply, list):
        return {}
    found: dict[Node, list[Span]] = {}
    for row in sorted(reply, key=lambda row: int(row[0])):
        first, last, primary = int(row[0]), int(row[1]), row[2]
        node = (_text(primary[0]) or asked[0], int(primary[1]))
        found.setdefault(node, []).append((first, last))
    return {node: tuple(spans) for node, spans in found.items()}


def _text(host: Any) -> str:
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    return "" if host in {None, "?"} else str(host)


def written(spans: Sequence[Span]) -> str:
    """Slots as text, `0-5460,6000-6001`: what a shard's head says it was whole for."""
    return ",".join(f"{first}-{last}" for first, last in spans)


def owner_table(spans: Sequence[Sequence[Span]]) -> list[int | None]:
    """For every slot the place in `spans` of the shard that owns it; None where nobody does."""
    table: list[int | None] = [None] * SLOTS
    for place, owned in enumerate(spans):
        for first, last in owned:
            table[first : last + 1] = [place] * (last + 1 - first)
    return table
