"""The Redis Cluster client of the scan service: each command goes to the shard of its key, to all shards at once.

No redirection is followed, because a shard that was just promoted may have lost the last writes. A shard's replies count
only if its own head, read in the same pipeline, is as new as every head this process has read: the head is written last
on each shard (docs/adr/0006). If a shard is down, behind or moving, the replies to its commands are errors, and the
database is asked about their keys alone; the other shards are not affected.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, cast

from redis.exceptions import RedisError

from scanweb.redis.connection import Command
from zpcode.errors import Text, Unavailable
from zpcode.wire import redis_cluster, redis_keys
from zpcode.wire.card import EVICTING_FIELD, GENERATION_FIELD, REVISION_FIELD
from zpcode.wire.redis_cluster import Node, Span
from zpcode.wire.redis_keys import Feed

AGAIN_SECONDS: Final = 0.25
"""While a shard is missing, the layout is read again at this interval."""

_AWAY = Text("缓存集群没有应答", "no shard of the cluster can be believed")
_FEED: Final = {redis_keys.HEAD, redis_keys.LOG}
_PROJECTED: Final = ("zp:{p:", "zp:{b:", redis_keys.STANDINGS)


class NotAnswered(RedisError):
    """Takes the place of a reply if the shard is down, behind, or has moved."""


class Client(Protocol):
    """The client of one server: `scanweb.redis.client.RedisClient`."""

    async def execute(self, commands: Sequence[Command]) -> list[Any]:
        """The replies; an error of a single command is in its place. Raises Unavailable."""
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...


class ShardState:
    """One primary and its slots. `down`: it failed, and no reading of the layout has reached it since.

    `evicting`: by its head, a key that it does not have proves nothing.
    """

    __slots__ = ("client", "down", "evicting", "feed")

    def __init__(self, client: Client, spans: Sequence[Span]) -> None:
        self.client = client
        self.feed: Feed = redis_keys.feed(spans[0][0])
        self.down = False
        self.evicting = True

    @property
    def head(self) -> Command:
        """The command that reads this shard's head."""
        return ("HMGET", self.feed.head, GENERATION_FIELD, REVISION_FIELD, EVICTING_FIELD)


class ClusterServer:
    """The shards of a cluster behind the interface of one server. `connect` makes a client from one node's address.

    `floor` is the newest revision read of `generation`: a shard whose head is older has lost writes.
    """

    def __init__(self, url: str, connect: Callable[[str], Client]) -> None:
        self.generation: str | None = None
        self.floor = 0
        self.shards: list[ShardState] = []
        self._url, self._connect = url, connect
        self._owners: list[int | None] = []
        # Nodes to ask for the layout; those that answered last time come first.
        self._order = redis_cluster.seed_nodes(url)
        self._clients: dict[Node, Client] = {}
        self._layout_task: asyncio.Task[None] | None = None
        self._again: asyncio.TimerHandle | None = None

    def reaches(self, key: str) -> bool:
        """False where the shard of a key is unknown or down."""
        return (shard := self._shard(key)) is not None and not shard.down

    async def execute(self, commands: Sequence[Command]) -> list[Any]:
        """The replies in order. An error stands for a command that failed, or whose shard is not believed.

        The head is the oldest head of the shards that were asked; the log is read from the first shard that answers.
        Raises Unavailable where no shard is believed.
        """
        if not self.shards:
            await asyncio.shield(self._layout_reading())
        floor = self.floor
        replies: list[Any] = [NotAnswered("its shard does not answer")] * len(commands)
        parts, of_feed = self._parts(commands)
        revisions: list[int] = []
        for feed in self.shards:
            if feed.down:
                continue
            parts[feed] = [*parts.get(feed, []), *of_feed]
            revisions = await self._ask_shards(parts, commands, replies, floor)
            if revisions:
                break
            parts = {}
        if not revisions or any(isinstance(reply, Exception) for reply in replies):
            self._read_layout_soon()
        if not revisions:
            raise Unavailable(_AWAY)
        self._fill_heads(commands, replies, min(revisions))
        return replies

    def _parts(self, commands: Sequence[Command]) -> tuple[dict[ShardState, list[int]], list[int]]:
        """The positions of the commands for each shard that is up, and of the commands that every shard can answer."""
        parts: dict[ShardState, list[int]] = {}
        of_feed = []
        for position, command in enumerate(commands):
            key = _key(command)
            if key in _FEED:
                of_feed.append(position)
            elif (shard := self._shard(key)) is not None and not shard.down:
                parts.setdefault(shard, []).append(position)
        return parts, of_feed

    async def _ask_shards(
        self, parts: dict[ShardState, list[int]], commands: Sequence[Command], replies: list[Any], floor: int
    ) -> list[int]:
        """Query some shards and put their replies in place; returns the revisions of the believed shards."""
        all_replies = await asyncio.gather(
            *(self._ask(shard, [commands[position] for position in positions]) for shard, positions in parts.items())
        )
        revisions = []
        for positions, shard_replies in zip(parts.values(), all_replies, strict=True):
            if shard_replies is None:
                continue
            revision = self._revision(shard_replies[0])
            believed = revision is not None and revision >= floor
            if believed and revision is not None:
                revisions.append(revision)
            for position, reply in zip(positions, shard_replies[1:], strict=True):
                # A shard that is behind has executed the commands, but what it has of the projection does not count.
                if believed or not _key(commands[position]).startswith(_PROJECTED):
                    replies[position] = reply
        return revisions

    def _shard(self, key: str) -> ShardState | None:
        if not self.shards:
            return None
        position = self._owners[redis_cluster.slot_of(key)]
        return None if position is None else self.shards[position]

    async def _ask(self, shard: ShardState, commands: Sequence[Command]) -> list[Any] | None:
        """The shard's head and its replies; None where it failed or is no longer a primary."""
        feed = shard.feed
        own = {redis_keys.HEAD: feed.head, redis_keys.LOG: feed.log}
        own_commands = [
            (command[0], own[key], *command[2:]) if (key := _key(command)) in own else command for command in commands
        ]
        try:
            replies = await shard.client.execute([shard.head, *own_commands])
        except Unavailable:
            replies = None
        if replies is None or isinstance(replies[0], Exception):
            shard.down = True
            self._read_layout_soon()
            return None
        shard.evicting = redis_keys.is_evicting(replies[0])
        return replies

    def _revision(self, reply: Any) -> int | None:
        """The revision in a shard's head; None where the head is missing or of another generation."""
        head = redis_keys.read_head(reply)
        return head[1] if head is not None and head[0] == self.generation else None

    def _fill_heads(self, commands: Sequence[Command], replies: list[Any], revision: int) -> None:
        self.floor = max(self.floor, revision)
        evicting = any(shard.evicting for shard in self.shards)
        for position, command in enumerate(commands):
            if command[1] == redis_keys.HEAD:
                replies[position] = [(self.generation or "").encode("ascii"), b"%d" % revision, b"%d" % evicting]

    # The layout ---------------------------------------------------------------------------------------

    def _read_layout_soon(self) -> None:
        """Read the layout now, unless it has just been read."""
        if self._again is None:
            self._layout_reading()

    def _layout_reading(self) -> asyncio.Task[None]:
        """The task that reads the layout, started where none is under way."""
        if self._layout_task is None:
            self._layout_task = asyncio.get_running_loop().create_task(self._read_layout())
            self._layout_task.add_done_callback(self._layout_read)
        return self._layout_task

    def _layout_read(self, task: asyncio.Task[None]) -> None:
        self._layout_task = None
        if not task.cancelled():
            task.exception()
            loop = asyncio.get_running_loop()
            self._again = loop.call_later(AGAIN_SECONDS, self._read_layout_again)

    def _read_layout_again(self) -> None:
        self._again = None
        if not self.shards or any(shard.down for shard in self.shards) or None in self._owners:
            self._layout_reading()

    async def _read_layout(self) -> None:
        """Read the layout and the head of each primary.

        The generation with the highest revision wins, and every shard has to reach the highest revision of it. Only here
        does a server replace another one or come back.
        """
        owners = await self._ask_owners()
        if not owners:
            for shard in self.shards:
                shard.down = True
            return
        shards = [ShardState(self._client(node), spans) for node, spans in owners.items()]
        all_replies = await asyncio.gather(*(self._ask(shard, ()) for shard in shards))
        read = [redis_keys.read_head(replies[0]) for replies in all_replies if replies is not None]
        heads = [head for head in read if head is not None]
        generation = max(heads, key=lambda head: head[::-1])[0] if heads else self.generation
        if generation != self.generation:
            self.generation, self.floor = generation, 0
        self.floor = max([self.floor, *(revision for whose, revision in heads if whose == generation)])
        self.shards, self._owners = shards, redis_cluster.owner_table(list(owners.values()))

    async def _ask_owners(self) -> dict[Node, tuple[Span, ...]]:
        for node in list(self._order):
            try:
                (reply,) = await self._client(node).execute([("CLUSTER", "SLOTS")])
            except Unavailable:
                continue
            if owners := redis_cluster.owners(reply, node):
                self._order = list(dict.fromkeys([node, *owners, *self._order]))
                return owners
        return {}

    def _client(self, node: Node) -> Client:
        if node not in self._clients:
            self._clients[node] = self._connect(redis_cluster.node_url(self._url, node))
        return self._clients[node]

    async def close(self) -> None:
        """Close every connection."""
        if self._again is not None:
            self._again.cancel()
        if self._layout_task is not None:
            self._layout_task.remove_done_callback(self._layout_read)
            self._layout_task.cancel()
            await asyncio.gather(self._layout_task, return_exceptions=True)
        await asyncio.gather(*(client.close() for client in self._clients.values()))


def _key(command: Command) -> str:
    """The key that decides about a command's shard."""
    return cast("str", command[3] if command[0] == "FCALL" else command[1])
