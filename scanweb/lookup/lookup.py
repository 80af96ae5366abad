"""What is known of a code: from memory and Redis, else from the database, else what is still remembered.

Memory answers only after a round trip to Redis has confirmed it, or while the watch keeps it in step with
the database. Whatever cannot be confirmed by either is marked so, and never makes a green verdict.
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
from scanweb.lookup.cards import Cards, Known, Question, ScanRequest
from scanweb.lookup.history import VISITOR_BYTES, HistoryQuery, HistoryReply
from scanweb.lookup.memory import CardEntry, Memory, Rows, held
from scanweb.lookup.redis_reader import RedisQuery, RedisReader, RedisReply
from scanweb.lookup.seals import Checked
from zpcode.errors import Text, Unavailable
from zpcode.wire import redis_keys
from zpcode.wire.card import BatchCard, History, Timeline, batch_key, history_key, item_key

ROUNDS: Final = 6
_RECENT: Final = 10_000
_WHOLE: Final = 1024
_UNSETTLED = Text("数据正在变动，请稍后再试", "the data is changing just now; try again shortly")
_HOPELESS_SECONDS: Final = 1.0


class Unread(Unavailable):
    """The database was asked and did not answer, or not with anything that can be believed."""


class View(Protocol):
    """The database as `scanweb.lookup.database.Source` offers it; named here so that this module needs no SQL library.

    `deadline` is how long one query may take, in seconds.
    """

    deadline: float

    async def read(self, keys: Sequence[str]) -> Rows:
        """The rows under these keys, those that exist. Raises Unavailable."""
        ...


class Lookup:
    """Finds what is known of a code."""

    def __init__(self, memory: Memory, cache: RedisReader, source: View) -> None:
        self.memory, self.cache, self.source = memory, cache, source
        self._completions = Batcher(self._complete, limit=2, size=8, deadline=2 * source.deadline)
        self._filling: dict[tuple[int, int, int], asyncio.Future[None]] = {}
        self._whole: dict[tuple[str, ...], Cards] = {}
        self._changes = memory.changes
        self._recent: OrderedDict[tuple[int, int, bytes], int] = OrderedDict()
        self._completed_again = 0.0  # when a Redis that took no histories is offered some again, monotonic

    async def find(self, checked: Checked, viewing: ScanRequest) -> Known:
        """What is known of a code, confirmed or not. Raises nothing."""
        if self.memory.believed:
            try:
                return await self._in_redis(Question(checked, viewing))
            except Unread:
                return self._unconfirmed(Question(checked, viewing))  # nobody waits for the database twice
            except Unavailable:
                pass  # the database is asked instead
        question = Question(checked, viewing)
        try:
            return await self._in_database(question)
        except Unavailable:
            return self._unconfirmed(question)

    def _unconfirmed(self, question: Question) -> Known:
        """What is still remembered, when nobody can say whether it holds."""
        cards = question.gather(self.memory.get)
        index = cards.item(question.checked)
        return Known(cards, False, index, counted=self._first_lately(question, cards))

    async def batch(self, number: int) -> BatchCard | None:
        """The card of a batch, for a serial without its GTIN. Raises Unavailable where nobody can say."""
        key = batch_key(number)
        if self.memory.believed:
            try:
                told = await self.cache.ask(RedisQuery((key,) if self.memory.get(key) is None else ()))
                if not told.absent and (card := self.memory.get(key)) is not None:
                    return card.card if isinstance(card.card, BatchCard) else None
            except Unavailable:
                pass
        found = (await self._read([key])).get(key)
        return found.card if found is not None and isinstance(found.card, BatchCard) else None

    async def close(self) -> None:
        """Give up what is under way."""
        await self._completions.close()

    # From Redis -------------------------------------------------------------------------------------

    def _at_hand(self, question: Question) -> Cards:
        """The cards in memory. Put together once for all codes that name the same ones, until one of them changes."""
        memory = self.memory
        if self._changes != memory.changes:
            self._changes = memory.changes
            self._whole.clear()
        cards = self._whole.get(question.checked.keys)
        if cards is None:
            cards = question.gather(memory.get)
            if not cards.missing and not question.nothing:
                if len(self._whole) >= _WHOLE:
                    self._whole.clear()
                self._whole[question.checked.keys] = cards
        return cards

    async def _in_redis(self, question: Question) -> Known:
        """What memory and Redis know of a code. Raises Unavailable, Unread.

        Invariant: an answer is made only of cards and a history that a round trip has confirmed. A round trip confirms
        them if it met no change: Redis's head was where memory stands. What came with a change is asked for again.

        1. Take the cards from memory. The question to Redis is what they lack: missing cards, and an item's history.
        2. If nothing is lacking and the last round trip met no change, answer.
        3. Otherwise ask Redis, in one round trip. Cards that Redis lacks are read from the database.
        4. Take the cards anew where memory has changed, and begin again at 2; give up after ROUNDS round trips.
        """
        memory, checked = self.memory, question.checked
        reply: HistoryReply | None = None
        confirmed = False  # the last round trip met no change
        history_due = True  # no history was read yet, or a change has come since
        cards, version = self._at_hand(question), memory.version  # step 1
        for _ in range(ROUNDS):
            index = cards.item(checked)
            query = None
            if history_due and index is not None and cards.batch is not None:
                query = _history_query(question, cards.batch, index, again=reply is not None)
            if confirmed and query is None and not cards.missing:  # step 2
                if index is None or reply is None or cards.batch is None:
                    return Known(cards)
                if not self._is_ordinary(cards.batch, reply):
                    return await self._of_item(question, cards.batch, cards, index, reply)
                return self._known(question, cards, index, None, reply)
            answer = await self.cache.ask(RedisQuery(tuple(cards.missing), query))  # step 3
            confirmed = not answer.moved
            history_due = answer.moved or (history_due and query is None)
            if query is not None:  # an item that is read again was counted the first time
                reply = (
                    answer.seen if reply is None else replace(answer.seen, history=reply.history, counted=reply.counted)
                )
            if answer.absent:
                await self._fill(question, answer)
            if memory.version != version or answer.absent:  # step 4
                cards, version = self._at_hand(question), memory.version
        raise Unavailable(_UNSETTLED)

    async def _fill(self, question: Question, told: RedisReply) -> None:
        """Read what Redis does not have from the database, and remember it if nothing changed meanwhile."""
        memory = self.memory
        epoch, revision = memory.epoch, memory.revision
        found = await self._read(sorted(told.absent))
        question.nothing |= told.absent.difference(found)
        if (memory.epoch, memory.revision) == (epoch, revision):
            for key, card in found.items():
                memory.put(key, card)

    def _is_ordinary(self, batch: BatchCard, seen: HistoryReply) -> bool:
        """Whether the look has told everything: no item of the batch has a standing of its own, the history is there."""
        return seen.history is not None and not batch.exceptions and seen.timeline is None and not self.memory.overlay

    async def _of_item(
        self, question: Question, batch: BatchCard, cards: Cards, index: int, seen: HistoryReply
    ) -> Known:
        timeline = await self._item_timeline(batch, index, seen)
        if seen.history is None:
            completed = await self._completed(question, batch, index, seen)
            counted = seen.counted or completed.counted
            if completed.history is None:
                counted = counted or self._first_lately(question, cards)
            seen = replace(completed, counted=counted)
        return self._known(question, cards, index, timeline, seen)

    def _known(self, question: Question, cards: Cards, index: int, own: Timeline | None, seen: HistoryReply) -> Known:
        if seen.counted and cards.batch is not None:  # should Redis go away before the reload
            self._remember((cards.batch.number, index, question.viewing.visitor), question.viewing.now)
        return Known(cards, True, index, own, seen.history, seen.counted)

    async def _item_timeline(self, batch: BatchCard, index: int, seen: HistoryReply) -> Timeline | None:
        if self.memory.overlay:
            newer = self.memory.overlay.get(item_key(batch.number, index))
            if newer is not None:
                return newer.card if isinstance(newer.card, Timeline) else None
        if seen.timeline is not None:
            try:
                card = held(item_key(batch.number, index), *redis_keys.unpack(seen.timeline)).card
            except msgspec.MsgspecError as error:
                raise Unavailable(_UNSETTLED) from error
            return card if isinstance(card, Timeline) else None
        if batch.exceptions and not seen.loaded:
            key = item_key(batch.number, index)
            card = (await self._read([key])).get(key, CardEntry(None, 0)).card
            return card if isinstance(card, Timeline) else None
        return None

    async def _completed(self, question: Question, batch: BatchCard, index: int, seen: HistoryReply) -> HistoryReply:
        """The look repeated once Redis has been given the histories it lacks; unchanged where that cannot be done."""
        if seen.away or time.monotonic() < self._completed_again:
            return seen
        try:
            await self._filled((batch.number, index // redis_keys.BUCKET, batch.quantity))
            told = await self.cache.ask(RedisQuery((), _history_query(question, batch, index)))
        except Unavailable:
            return seen
        return replace(seen, history=told.seen.history, counted=told.seen.counted)

    def _filled(self, bucket: tuple[int, int, int]) -> asyncio.Future[None]:
        """The end of the filling of a bucket, which may be under way already."""
        flight = self._filling.get(bucket)
        if flight is None:
            flight = self._filling[bucket] = self._completions.ask(bucket)
            flight.add_done_callback(lambda _: self._filling.pop(bucket, None))
        return asyncio.shield(flight)

    async def _complete(self, buckets: Sequence[tuple[int, int, int]]) -> list[None]:
        """Give Redis some buckets (batch, bucket, quantity) as the database knows them."""
        entries: dict[tuple[int, int], dict[str, bytes]] = {}
        keys = []
        for number, bucket, quantity in buckets:
            entries[number, bucket] = {}
            first = bucket * redis_keys.BUCKET
            keys += [history_key(number, at) for at in range(first, min(first + redis_keys.BUCKET, quantity))]
        for key, row in (await self.source.read(keys)).items():
            _, batch, index = key.split(":")
            history = msgspec.json.decode(row.body, type=History)
            bucket, at = divmod(int(index), redis_keys.BUCKET)
            entries[int(batch), bucket][str(at)] = msgspec.msgpack.encode(history)
        try:
            await self.cache.complete(entries)
        except Unavailable:  # its memory is full: for a second nobody reads histories that it does not take
            self._completed_again = time.monotonic() + _HOPELESS_SECONDS
            raise
        return [None] * len(buckets)

    def _first_lately(self, question: Question, cards: Cards) -> bool:
        """While histories cannot be counted in Redis: whether this process has not counted this view just now."""
        index = cards.item(question.checked) if question.viewing.counts else None
        if index is None or cards.batch is None:
            return False
        key = (cards.batch.number, index, question.viewing.visitor)
        known = self._recent.get(key)
        if known is not None and question.viewing.now - known < redis_keys.VISIT_SECONDS:
            return False
        self._remember(key, question.viewing.now)
        return True

    def _remember(self, view: tuple[int, int, bytes], now: int) -> None:
        self._recent[view] = now
        self._recent.move_to_end(view)
        if len(self._recent) > _RECENT:
            self._recent.popitem(last=False)

    # From the database ------------------------------------------------------------------------------

    async def _in_database(self, question: Question) -> Known:
        memory = self.memory
        local: dict[str, CardEntry] = {}
        remembered = False

        def get(key: str) -> CardEntry | None:
            return local.get(key) or (memory.get(key) if remembered else None)

        for _ in range(ROUNDS):
            remembered = memory.fresh(time.monotonic())
            cards = question.gather(get)
            index, batch = cards.item(question.checked), cards.batch
            missing = list(cards.missing)
            own = (
                item_key(batch.number, index) if index is not None and batch is not None and batch.exceptions else None
            )
            standing = None if own is None else get(own)
            if own is not None and standing is None:
                missing.append(own)
            if not missing:
                timeline = None if standing is None else standing.card
                own_timeline = timeline if isinstance(timeline, Timeline) else None
                return Known(cards, True, index, own_timeline, counted=self._first_lately(question, cards))
            generation = memory.generation
            found, head = await self._read_at(missing)
            if own is not None and standing is None:
                found.setdefault(own, CardEntry(None, 0))
            local |= found
            question.nothing |= frozenset(key for key in missing if key not in found)
            if memory.generation == generation and head >= memory.revision:
                for key, card in found.items():  # what changed since will be told when memory moves on
                    memory.put(key, card)
        raise Unavailable(_UNSETTLED)

    async def _read(self, keys: Sequence[str]) -> dict[str, CardEntry]:
        """Cards by key; a registry record without a standing is there, as None. Raises Unread."""
        return (await self._read_at(keys))[0]

    async def _read_at(self, keys: Sequence[str]) -> tuple[dict[str, CardEntry], int]:
        """The same, and the database's newest revision at that time."""
        try:
            rows = await self.source.read(keys)
        except Unavailable as error:
            raise Unread(error.text) from error
        found = {key: CardEntry(None, 0) for key in keys if key[0] == "s"}
        for key, row in rows.items():
            try:
                found[key] = held(key, row.revision, row.body)
            except (msgspec.MsgspecError, ValueError) as error:
                raise Unread(_UNSETTLED) from error
        return found, rows.head


def _history_query(question: Question, batch: BatchCard, index: int, *, again: bool = False) -> HistoryQuery:
    viewing = question.viewing
    visitor = viewing.visitor[:VISITOR_BYTES] if viewing.counts and not again else b""
    return HistoryQuery(batch.number, index, viewing.now, visitor, viewing.city, batch.exceptions)
