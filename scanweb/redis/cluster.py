"""A Redis Cluster as the scan service asks it: every question goes to the shard it belongs on, all shards at once.

No redirection is followed, because a shard that was just promoted may have lost the last writes: what it says counts
only once its own head was read in the same pipeline and found as new as anything this process has seen (the head is
written last, on every shard: docs/adr/0006). What a shard cannot say, because it is gone, behind or moving, is
answered by an error in its place, and the database is asked about that alone; the other shards go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, cast

from redis.exceptions import NoScriptError, RedisError

from scanweb.redis.connection import Command
from zpcode.errors import Text, Unavailable
from zpcode.wire import redis_cluster, redis_keys
from zpcode.wire.card import GENERATION_FIELD, REVISION_FIELD
from zpcode.wire.redis_cluster import Node, Span
from zpcode.wire.redis_keys import Feed

AGAIN_SECONDS: Final = 0.25
"""As long as a shard is missing, the cluster is surveyed this often."""

_AWAY = Text("缓存集群没有应答", "no shard of the cluster can be believed")
_FEED: Final = {redis_keys.HEAD, redis_keys.LOG}
_PROJECTED: Final = ("zp:{p:", "zp:{b:", redis_keys.STANDINGS)


class NotAnswered(RedisError):
    """In the place of a reply: the shard of that key is gone, behind, or in another server's hands."""


class Client(Protocol):
    """One server as this module asks it: `scanweb.redis.client.RedisClient`."""

    async def ask(self, commands: Sequence[Command]) -> list[Any]:
        """The replies, errors of single commands among them. Raises Unavailable."""
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...


class ShardState:
    """One primary and what it is responsible for. `down`: it failed, and has not been seen well since."""

    __slots__ = ("client", "down", "feed")

    def __init__(self, client: Client, spans: Sequence[Span]) -> None:
        self.client = client
        self.feed: Feed = redis_keys.feed(spans[0][0])
        self.down = False

    @property
    def head(self) -> Command:
        """What is asked before anything else."""
        return ("HMGET", self.feed.head, GENERATION_FIELD, REVISION_FIELD)


class ClusterServer:
    """The shards of a cluster, asked as if they were one server. `connect` makes a client of one node's address.

    `floor` is the newest revision seen of `generation`: a shard whose head is older has lost something.
    """

    def __init__(self, url: str, connect: Callable[[str], Client]) -> None:
        self.generation: str | None = None
        self.floor = 0
        self.shards: list[ShardState] = []
        self._url, self._connect = url, connect
        self._owners: list[int | None] = []
        self._order = redis_cluster.named(url)  # whom to ask for the layout, those that answered last time first
        self._clients: dict[Node, Client] = {}
        self._survey: asyncio.Task[None] | None = None
        self._again: asyncio.TimerHandle | None = None

    def reaches(self, key: str) -> bool:
        """Whether the shard of a key is thought to answer."""
        return (shard := self._shard(key)) is not None and not shard.down

    async def ask(self, commands: Sequence[Command]) -> list[Any]:
        """The replies in order; one that failed, or that no shard can be believed about, is an error in its place.

        The question for the head is answered by the oldest head of the shards asked, the one for the log by the
        first shard that answers. Raises Unavailable where no shard can be believed.
        """
        if not self.shards:
            await asyncio.shield(self._surveyed())
        floor = self.floor
        replies: list[Any] = [NotAnswered("its shard does not answer")] * len(commands)
        parts, of_feed = self._parts(commands)
        revisions: list[int] = []
        for feed in self.shards:
            if feed.down:
                continue
            parts[feed] = [*parts.get(feed, []), *of_feed]
            revisions = await self._asked(parts, commands, replies, floor)
            if revisions:
                break
            parts = {}
        if not revisions or any(type(reply) is not NoScriptError and isinstance(reply, Exception) for reply in replies):
            self._look_around()
        if not revisions:
            raise Unavailable(_AWAY)
        self._answer_heads(commands, replies, min(revisions))
        return replies

    def _parts(self, commands: Sequence[Command]) -> tuple[dict[ShardState, list[int]], list[int]]:
        """The places of commands by their shards, as far as those are up; and of those that any shard can answer."""
        parts: dict[ShardState, list[int]] = {}
        of_feed = []
        for place, command in enumerate(commands):
            key = _key(command)
            if key in _FEED:
                of_feed.append(place)
            elif (shard := self._shard(key)) is not None and not shard.down:
                parts.setdefault(shard, []).append(place)
        return parts, of_feed

    async def _asked(
        self, parts: dict[ShardState, list[int]], commands: Sequence[Command], replies: list[Any], floor: int
    ) -> list[int]:
        """Put the replies of some shards in their places; the revisions of those that can be believed."""
        told = await asyncio.gather(
            *(self._told(shard, [commands[place] for place in places]) for shard, places in parts.items())
        )
        revisions = []
        for places, answer in zip(parts.values(), told, strict=True):
            if answer is None:
                continue
            revision = self._revision(answer[0])
            believed = revision is not None and revision >= floor
            if believed and revision is not None:
                revisions.append(revision)
            for place, reply in zip(places, answer[1:], strict=True):
                # What a shard that is behind was told stays told; what it says of the projection does not count.
                if believed or not _key(commands[place]).startswith(_PROJECTED):
                    replies[place] = reply
        return revisions

    def _shard(self, key: str) -> ShardState | None:
        if not self.shards:
            return None
        place = self._owners[redis_cluster.slot_of(key)]
        return None if place is None else self.shards[place]

    async def _told(self, shard: ShardState, commands: Sequence[Command]) -> list[Any] | None:
        """The shard's head and its replies; None where it failed, or is not (or no longer) one."""
        feed = shard.feed
        own = {redis_keys.HEAD: feed.head, redis_keys.LOG: feed.log}
        asked = [
            (command[0], own[key], *command[2:]) if (key := _key(command)) in own else command for command in commands
        ]
        try:
            answer = await shard.client.ask([shard.head, *asked])
        except Unavailable:
            answer = None
        if answer is None or isinstance(answer[0], Exception):
            shard.down = True
            self._look_around()
            return None
        return answer

    def _revision(self, reply: Any) -> int | None:
        """The revision a shard's head names; None where it has none of this generation."""
        head = _head(reply)
        return head[1] if head is not None and head[0] == self.generation else None

    def _answer_heads(self, commands: Sequence[Command], replies: list[Any], revision: int) -> None:
        self.floor = max(self.floor, revision)
        for place, command in enumerate(commands):
            if command[1] == redis_keys.HEAD:
                replies[place] = [(self.generation or "").encode("ascii"), b"%d" % revision]

    # Who owns what ------------------------------------------------------------------------------------

    def _look_around(self) -> None:
        """Survey the cluster now, unless that was done just now."""
        if self._again is None:
            self._surveyed()

    def _surveyed(self) -> asyncio.Task[None]:
        """The end of the survey that is under way."""
        if self._survey is None:
            self._survey = asyncio.get_running_loop().create_task(self._look())
            self._survey.add_done_callback(self._looked)
        return self._survey

    def _looked(self, task: asyncio.Task[None]) -> None:
        self._survey = None
        if not task.cancelled():
            task.exception()
            loop = asyncio.get_running_loop()
            self._again = loop.call_later(AGAIN_SECONDS, self._rested)

    def _rested(self) -> None:
        self._again = None
        if not self.shards or any(shard.down for shard in self.shards) or None in self._owners:
            self._surveyed()

    async def _look(self) -> None:
        """Ask who owns what, and every primary for its head. The generation that came furthest is the one, and what
        any shard knows of, all have to: a server takes another's place, or comes back, only through here.
        """
        found = await self._layout()
        if not found:
            for shard in self.shards:
                shard.down = True
            return
        shards = [ShardState(self._client(node), spans) for node, spans in found.items()]
        answers = await asyncio.gather(*(self._told(shard, ()) for shard in shards))
        heads = [head for answer in answers if answer is not None and (head := _head(answer[0])) is not None]
        generation = max(heads, key=lambda head: head[::-1])[0] if heads else self.generation
        if generation != self.generation:
            self.generation, self.floor = generation, 0
        self.floor = max([self.floor, *(revision for whose, revision in heads if whose == generation)])
        self.shards, self._owners = shards, redis_cluster.owner_table(list(found.values()))

    async def _layout(self) -> dict[Node, tuple[Span, ...]]:
        for node in list(self._order):
            try:
                (reply,) = await self._client(node).ask([("CLUSTER", "SLOTS")])
            except Unavailable:
                continue
            if found := redis_cluster.owners(reply, node):
                self._order = list(dict.fromkeys([node, *found, *self._order]))
                return found
        return {}

    def _client(self, node: Node) -> Client:
        if node not in self._clients:
            self._clients[node] = self._connect(redis_cluster.node_url(self._url, node))
        return self._clients[node]

    async def close(self) -> None:
        """Close every connection."""
        if self._again is not None:
            self._again.cancel()
        if self._survey is not None:
            self._survey.remove_done_callback(self._looked)
            self._survey.cancel()
            await asyncio.gather(self._survey, return_exceptions=True)
        await asyncio.gather(*(client.close() for client in self._clients.values()))


def _head(reply: Any) -> tuple[str, int] | None:
    """Generation and revision out of a head; None where there is none."""
    if not isinstance(reply, list) or None in reply:
        return None
    return reply[0].decode("ascii", "replace"), int(reply[1])


def _key(command: Command) -> str:
    """The key by which a command finds its shard."""
    return cast("str", command[3] if command[0] in {"EVALSHA", "EVAL"} else command[1])
