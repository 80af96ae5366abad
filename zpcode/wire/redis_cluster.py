"""A Redis Cluster: its URL, its slots, and the nodes that own them.

The authority writes every shard and the scan service reads them. This module is pure: it opens no connection.
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
"""A range of slots, both ends included."""
Node = tuple[str, int]
"""Host and port of one node."""


def is_cluster(url: str) -> bool:
    """Whether a URL is that of a cluster: `redis+cluster://`, or with TLS `rediss+cluster://`."""
    return url.partition("://")[0] in _SCHEMES


def seed_nodes(url: str) -> list[Node]:
    """The nodes in a cluster's URL, such as `redis+cluster://USER:WORD@A:1,B:2`. Several are better than one."""
    nodes = []
    for address in urlsplit(url).netloc.rpartition("@")[2].split(","):
        host, colon, port = address.rpartition(":")
        if not colon or not port.isdigit():
            host, port = address, "6379"
        nodes.append((host.strip("[]"), int(port)))
    return nodes


def node_url(url: str, node: Node) -> str:
    """The URL of one node, with the credentials and options of the cluster's URL."""
    parts = urlsplit(url)
    who, at, _ = parts.netloc.rpartition("@")
    host = f"[{node[0]}]" if ":" in node[0] else node[0]
    return urlunsplit(parts._replace(scheme=_SCHEMES[parts.scheme], netloc=f"{who}{at}{host}:{node[1]}"))


def slot_of(key: str) -> int:
    """The slot of a key: that of its hash tag (the text in its first braces) if it has one."""
    start = key.find("{")
    if start >= 0:
        end = key.find("}", start + 1)
        if end > start + 1:
            key = key[start + 1 : end]
    return crc_hqx(key.encode("utf-8"), 0) % SLOTS


@lru_cache(maxsize=4096)
def tag_in(slot: int, word: str) -> str:
    """The first `word:NUMBER` from 0 on that as a hash tag belongs to a slot."""
    prefix = f"{word}:".encode("ascii")
    return next(f"{word}:{number}" for number in count() if crc_hqx(b"%b%d" % (prefix, number), 0) % SLOTS == slot)


def owners(reply: object, asked: Node) -> dict[Node, tuple[Span, ...]]:
    """The primaries and their slots in the reply of the node `asked` to CLUSTER SLOTS, in the order of slots.

    A node that does not know its own address, or is reached through a proxy, leaves the host empty; the host of `asked`
    is used instead. The result is empty if the reply is not a list.
    """
    if not isinstance(reply, list):
        return {}
    spans_by_node: dict[Node, list[Span]] = {}
    for row in sorted(reply, key=lambda row: int(row[0])):
        first, last, primary = int(row[0]), int(row[1]), row[2]
        node = (_text(primary[0]) or asked[0], int(primary[1]))
        spans_by_node.setdefault(node, []).append((first, last))
    return {node: tuple(spans) for node, spans in spans_by_node.items()}


def _text(host: Any) -> str:
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    return "" if host in {None, "?"} else str(host)


def spans_text(spans: Sequence[Span]) -> str:
    """Ranges of slots as text, such as `0-5460,6000-6001`, as a shard's head names the slots that it was filled for."""
    return ",".join(f"{first}-{last}" for first, last in spans)


def owner_table(spans: Sequence[Sequence[Span]]) -> list[int | None]:
    """For each slot, the position in `spans` of the shard that owns it; None if no shard does."""
    table: list[int | None] = [None] * SLOTS
    for shard, owned in enumerate(spans):
        for first, last in owned:
            table[first : last + 1] = [shard] * (last + 1 - first)
    return table
