"""The cards and the history of one code: from memory and Redis, else from the database, else from memory unconfirmed.

Memory answers only after a round trip to Redis has confirmed it, or while `Freshness` keeps it in step with the database.
A result that neither confirms is marked as unconfirmed and never leads to a green verdict.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, Protocol

import msgspec
from msgspec.structs import replace

from scanweb.lookup.batcher import Batcher
from scanweb.lookup.cards import Cards, CodeQuery, LookupResult, ScanRequest
from scanweb.lookup.history import VISITOR_BYTES, ItemQuery, ItemReply
from scanweb.lookup.memory import CardEntry, Memory, Rows, decode_entry
from scanweb.lookup.redis_reader import RedisQuery, RedisReader, RedisReply
from scanweb.lookup.seals import CheckedCode
from zpcode.errors import Text, Unavailable
from zpcode.wire import redis_keys
from zpcode.wire.card import BatchCard, History, Timeline, batch_key, history_key, item_key
from zpcode.wire.functions import histories

ROUNDS: Final = 6
_MAX_RECENT: Final = 10_000
_MAX_COLLECTED: Final = 1024
_UNSETTLED = Text("数据正在变动，请稍后再试", "the data is changing just now; try again shortly")
_PAUSE_SECONDS: Final = 1.0


class DatabaseUnavailable(Unavailable):
    """The database was asked and did not answer, or its answer cannot be believed."""


class ScanView(Protocol):
    """The view of the database, which `scanweb.lookup.database.Database` reads.

    With this protocol, this module does not import a SQL library.

    `deadline` is how long one query may take, in seconds.
    """

    deadline: float

    async def read(self, keys: Sequence[str], *, behind: bool = False) -> Rows:
        """The rows under these keys, those that exist. Raises Unavailable; unless `behind`, also if it lags."""
        ...


class Lookup:
    """Reads the cards and the history of a code."""

    def __init__(self, memory: Memory, redis: RedisReader, database: ScanView) -> None:
        self.memory, self.redis, self.database = memory, redis, database
        self._completions = Batcher(self._complete, limit=2, size=8, deadline=2 * database.deadline)
        self._completing: dict[tuple[int, int, int], asyncio.Future[None]] = {}
        self._collected: dict[tuple[str, ...], Cards] = {}
        self._changes = memory.changes
        self._recent_views: OrderedDict[tuple[int, int, bytes], int] = OrderedDict()
        self._completions_paused_until = 0.0  # monotonic seconds

    async def find(self, checked: CheckedCode, request: ScanRequest) -> LookupResult:
        """Look a code up. The result may be unconfirmed. Raises nothing."""
        if self.memory.believed:
            try:
                return await self._in_redis(CodeQuery(checked, request))
            except DatabaseUnavailable:
                return self._unconfirmed(CodeQuery(checked, request))  # no scan waits for the database twice
            except Unavailable:
                pass  # the database is asked instead
        query = CodeQuery(checked, request)
        try:
            return await self._in_database(query)
        except Unavailable:
            return self._unconfirmed(query)

    def _unconfirmed(self, query: CodeQuery) -> LookupResult:
        """The cards still in memory, when neither Redis nor the database can confirm them."""
        cards = query.collect(self.memory.get)
        index = cards.item(query.checked)
        return LookupResult(cards, False, index, counted=self._count_locally(query, cards))

    async def recorded(self, checked: CheckedCode, now: int) -> LookupResult:
        """What the database alone has of a code, even if it is behind. Raises Unavailable."""
        return await self._in_database(CodeQuery(checked, ScanRequest(now)), behind=True)

    async def batch(self, number: int) -> BatchCard | None:
        """The card of a batch, for a serial without its GTIN. Raises Unavailable."""
        key = batch_key(number)
        if self.memory.believed:
            try:
                reply = await self.redis.query(RedisQuery((key,) if self.memory.get(key) is None else ()))
                if not reply.absent and (entry := self.memory.get(key)) is not None:
                    return entry.card if isinstance(entry.card, BatchCard) else None
            except Unavailable:
                pass  # the database is asked instead
        entry = (await self._read([key])).get(key)
        return entry.card if entry is not None and isinstance(entry.card, BatchCard) else None

    async def close(self) -> None:
        """Give up what is under way."""
        await self._completions.close()

    # From Redis -------------------------------------------------------------------------------------

    def _cards_in_memory(self, query: CodeQuery) -> Cards:
        """The code's cards in memory. All codes with the same keys share one object until one of the cards changes."""
        memory = self.memory
        if self._changes != memory.changes:
            self._changes = memory.changes
            self._collected.clear()
        cards = self._collected.get(query.checked.keys)
        if cards is None:
            cards = query.collect(memory.get)
            if not cards.missing and not query.nonexistent:
                if len(self._collected) >= _MAX_COLLECTED:
                    self._collected.clear()
                self._collected[query.checked.keys] = cards
        return cards

    async def _in_redis(self, query: CodeQuery) -> LookupResult:
        """What memory and Redis have of a code. Raises Unavailable, DatabaseUnavailable.

        Invariant: the result consists of cards that a round trip has confirmed, and of an item reply that was asked for
        under one of these cards, the batch card. A round trip confirms the cards if Redis's head was where memory stands.

        1. Take the cards from memory. The query to Redis asks for what they lack: missing cards, and the item.
        2. If nothing is lacking and the last round trip confirmed the cards, return them.
        3. Otherwise query Redis, in one round trip. Cards that Redis does not have are read from the database.
        4. If memory has changed, take the cards again. With another batch card the item is due again: its reply may lack
           the item's own timeline, which is asked for only where the batch card says that there are any.
        5. Begin again at 2; give up after ROUNDS round trips.
        """
        memory, checked = self.memory, query.checked
        item: ItemReply | None = None
        confirmed = False  # the last round trip found the head where memory stands
        item_due = True  # there is no item reply yet, or it is no longer good
        cards, version = self._cards_in_memory(query), memory.version  # step 1
        for _ in range(ROUNDS):
            index, batch = cards.item(checked), cards.batch
            item_query = None
            if item_due and index is not None and batch is not None:
                item_query = _item_query(query, batch, index, again=item is not None)
            if confirmed and item_query is None and not cards.missing:  # step 2
                if index is None or item is None or batch is None:
                    return LookupResult(cards)
                if not self._is_complete(batch, item):
                    return await self._complete_item(query, batch, cards, index, item)
                return self._result(query, cards, index, None, item)
            reply = await self.redis.query(RedisQuery(tuple(cards.missing), item_query))  # step 3
            confirmed = not reply.changed
            item_due = reply.changed or (item_due and item_query is None)
            if item_query is not None:  # an item that is read again was counted the first time
                item = reply.item if item is None else replace(reply.item, history=item.history, counted=item.counted)
            if reply.absent:
                await self._fill(query, reply)
            if memory.version != version or reply.absent:  # step 4
                cards, version = self._cards_in_memory(query), memory.version
                item_due = item_due or cards.batch is not batch
        raise Unavailable(_UNSETTLED)

    async def _fill(self, query: CodeQuery, reply: RedisReply) -> None:
        """Read the cards that Redis does not have from the database; remember them if nothing changed meanwhile."""
        memory = self.memory
        epoch, revision = memory.epoch, memory.revision
        entries = await self._read(sorted(reply.absent))
        query.nonexistent |= reply.absent.difference(entries)
        if (memory.epoch, memory.revision) == (epoch, revision):
            for key, entry in entries.items():
                memory.put(key, entry)

    def _is_complete(self, batch: BatchCard, item: ItemReply) -> bool:
        """Whether the reply is all there is: it has a history, and no item of the batch has a timeline of its own."""
        return item.history is not None and not batch.exceptions and item.timeline is None and not self.memory.overlay

    async def _complete_item(
        self, query: CodeQuery, batch: BatchCard, cards: Cards, index: int, item: ItemReply
    ) -> LookupResult:
        """The result, with the item's own timeline, and with a history from the database where Redis has none."""
        timeline = await self._item_timeline(batch, index, item)
        if item.history is None:
            completed = await self._completed(query, batch, index, item)
            counted = item.counted or completed.counted
            if completed.history is None:
                counted = counted or self._count_locally(query, cards)
            item = replace(completed, counted=counted)
        return self._result(query, cards, index, timeline, item)

    def _result(
        self, query: CodeQuery, cards: Cards, index: int, own: Timeline | None, item: ItemReply
    ) -> LookupResult:
        if item.counted and cards.batch is not None:  # so that a reload during an outage of Redis is not counted
            self._remember_view((cards.batch.number, index, query.request.visitor), query.request.now)
        return LookupResult(cards, True, index, own, item.history, item.counted)

    async def _item_timeline(self, batch: BatchCard, index: int, item: ItemReply) -> Timeline | None:
        """The item's own timeline: from the overlay, the reply, or the database where Redis cannot say."""
        if self.memory.overlay:
            newer = self.memory.overlay.get(item_key(batch.number, index))
            if newer is not None:
                return newer.card if isinstance(newer.card, Timeline) else None
        if item.timeline is not None:
            try:
                card = decode_entry(item_key(batch.number, index), *redis_keys.unpack(item.timeline)).card
            except ValueError as error:
                raise Unavailable(_UNSETTLED) from error
            return card if isinstance(card, Timeline) else None
        if batch.exceptions and not item.loaded:
            key = item_key(batch.number, index)
            card = (await self._read([key])).get(key, CardEntry(None, 0)).card
            return card if isinstance(card, Timeline) else None
        return None

    async def _completed(self, query: CodeQuery, batch: BatchCard, index: int, item: ItemReply) -> ItemReply:
        """Give Redis the histories it lacks and query the item again; returns `item` where that cannot be done."""
        if item.away or time.monotonic() < self._completions_paused_until:
            return item
        try:
            await self._completion_of((batch.number, index // redis_keys.BUCKET, batch.quantity))
            reply = await self.redis.query(RedisQuery((), _item_query(query, batch, index)))
        except Unavailable:
            return item
        return replace(item, history=reply.item.history, counted=reply.item.counted)

    def _completion_of(self, bucket: tuple[int, int, int]) -> asyncio.Future[None]:
        """A future that is done when the bucket is complete. Simultaneous scans share it."""
        future = self._completing.get(bucket)
        if future is None:
            future = self._completing[bucket] = self._completions.submit(bucket)
            future.add_done_callback(lambda _: self._completing.pop(bucket, None))
        return asyncio.shield(future)

    async def _complete(self, buckets: Sequence[tuple[int, int, int]]) -> list[None]:
        """Write buckets (batch, bucket, quantity) of histories to Redis as the database has them."""
        entries: dict[tuple[int, int], dict[str, bytes]] = {}
        keys = []
        for number, bucket, quantity in buckets:
            entries[number, bucket] = {}
            first = bucket * redis_keys.BUCKET
            keys += [history_key(number, at) for at in range(first, min(first + redis_keys.BUCKET, quantity))]
        for key, row in (await self.database.read(keys)).items():
            _, batch, index = key.split(":")
            bucket, at = divmod(int(index), redis_keys.BUCKET)
            entries[int(batch), bucket][str(at)] = _stored_history(row.body)
        try:
            await self.redis.complete(entries)
        except Unavailable:  # its memory is full: for a second no histories are read that it would not take
            self._completions_paused_until = time.monotonic() + _PAUSE_SECONDS
            raise
        return [None] * len(buckets)

    def _count_locally(self, query: CodeQuery, cards: Cards) -> bool:
        """While Redis cannot count: whether this view counts, because this process has not counted it recently."""
        index = cards.item(query.checked) if query.request.counts else None
        if index is None or cards.batch is None:
            return False
        view = (cards.batch.number, index, query.request.visitor)
        counted_at = self._recent_views.get(view)
        if counted_at is not None and query.request.now - counted_at < redis_keys.VISIT_SECONDS:
            return False
        self._remember_view(view, query.request.now)
        return True

    def _remember_view(self, view: tuple[int, int, bytes], now: int) -> None:
        self._recent_views[view] = now
        self._recent_views.move_to_end(view)
        if len(self._recent_views) > _MAX_RECENT:
            self._recent_views.popitem(last=False)

    # From the database ------------------------------------------------------------------------------

    async def _in_database(self, query: CodeQuery, *, behind: bool = False) -> LookupResult:
        """What the database has of a code; memory is used too while it is fresh. Raises Unavailable.

        With `behind` memory is neither used nor changed: it has cards of Redis.
        Each round reads what is missing. It takes several: cards name other cards.
        """
        memory = self.memory
        local: dict[str, CardEntry] = {}
        use_memory = False

        def get(key: str) -> CardEntry | None:
            return local.get(key) or (memory.get(key) if use_memory else None)

        for _ in range(ROUNDS):
            use_memory = not behind and memory.fresh(time.monotonic())
            cards = query.collect(get)
            index, batch = cards.item(query.checked), cards.batch
            missing = list(cards.missing)
            own_key = (
                item_key(batch.number, index) if index is not None and batch is not None and batch.exceptions else None
            )
            own_entry = None if own_key is None else get(own_key)
            if own_key is not None and own_entry is None:
                missing.append(own_key)
            if not missing:
                own = None if own_entry is None else own_entry.card
                timeline = own if isinstance(own, Timeline) else None
                return LookupResult(cards, True, index, timeline, counted=self._count_locally(query, cards))
            generation = memory.generation
            entries, head = await self._read_at(missing, behind=behind)
            if own_key is not None and own_entry is None:
                entries.setdefault(own_key, CardEntry(None, 0))
            local |= entries
            query.nonexistent |= frozenset(key for key in missing if key not in entries)
            if not behind and memory.generation == generation and head >= memory.revision:
                for key, entry in entries.items():  # a change after `head` is applied when memory follows it
                    memory.put(key, entry)
        raise Unavailable(_UNSETTLED)

    async def _read(self, keys: Sequence[str]) -> dict[str, CardEntry]:
        """Entries by key; a registry record without a standing has an empty one. Raises DatabaseUnavailable."""
        return (await self._read_at(keys))[0]

    async def _read_at(self, keys: Sequence[str], *, behind: bool = False) -> tuple[dict[str, CardEntry], int]:
        """The same, with the database's newest revision at that time."""
        try:
            rows = await self.database.read(keys, behind=behind)
        except Unavailable as error:
            raise DatabaseUnavailable(error.text) from error
        entries = {key: CardEntry(None, 0) for key in keys if key[0] == "s"}
        for key, row in rows.items():
            try:
                entries[key] = decode_entry(key, row.revision, row.body)
            except (msgspec.MsgspecError, ValueError) as error:
                raise DatabaseUnavailable(_UNSETTLED) from error
        return entries, rows.head


def _stored_history(body: bytes) -> bytes:
    """A history of the view as Redis stores it. Raises Unavailable where it is none."""
    try:
        return histories.pack(msgspec.json.decode(body, type=History))
    except ValueError as error:
        raise Unavailable(_UNSETTLED) from error


def _item_query(query: CodeQuery, batch: BatchCard, index: int, *, again: bool = False) -> ItemQuery:
    """The item's query; counted only the first time."""
    request = query.request
    visitor = request.visitor[:VISITOR_BYTES] if request.counts and not again else b""
    return ItemQuery(batch.number, index, request.now, visitor, request.city, batch.exceptions)
