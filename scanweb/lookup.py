"""What is known of a code: from memory and Redis, else from the database, else what is still remembered.

Memory answers only after a round trip to Redis has confirmed it, or while the watch keeps it in step with
the database. Whatever cannot be confirmed by either is marked so, and never makes a green verdict.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

import msgspec

from scanweb.cache import Ask, Cache, Told
from scanweb.gather import Gather
from scanweb.history import Look, Seen
from scanweb.memory import Held, Memory, Row, held
from scanweb.seals import Checked
from zpcode.errors import Text, Unavailable
from zpcode.wire import redis_keys
from zpcode.wire.card import (
    BatchCard,
    History,
    LotCard,
    ProductCard,
    Scope,
    State,
    Timeline,
    batch_key,
    history_key,
    item_key,
    lot_key,
    product_key,
)
from zpcode.wire.payload import check_matches

ROUNDS: Final = 6
_RECENT: Final = 10_000
_UNSETTLED = Text("数据正在变动，请稍后再试", "the data is changing just now; try again shortly")
Get = Callable[[str], Held | None]


class View(Protocol):
    """The database as `scanweb.source.Source` offers it; named here so that this module needs no SQL library.

    `deadline` is how long one query may take, in seconds.
    """

    deadline: float

    async def read(self, keys: Sequence[str]) -> dict[str, Row]:
        """The rows under these keys, those that exist. Raises Unavailable."""
        ...


@dataclass(frozen=True, slots=True)
class Viewing:
    """Who looks and when: seconds since 1970, the visitor's mark in hexadecimal, the city, whether it may count."""

    now: int
    visitor: str = ""
    city: str = ""
    counts: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """All that was found. `counted` says that this view belongs in the item's history."""

    confirmed: bool = False
    product: ProductCard | None = None
    batch: BatchCard | None = None
    lot: LotCard | None = None
    index: int | None = None
    timelines: tuple[tuple[Scope, Timeline], ...] = ()
    key_revoked: bool = False
    history: History | None = None
    counted: bool = False


@dataclass(slots=True)
class Gathered:
    """The cards at hand that a code hangs on, the standings among them, and the keys of those still missing."""

    found: dict[str, Held] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    timelines: list[tuple[Scope, Timeline]] = field(default_factory=list)


@dataclass(slots=True)
class Question:
    """One code being looked up, and what is known so far not to exist."""

    checked: Checked
    viewing: Viewing
    nothing: set[str] = field(default_factory=set)

    def gather(self, get: Get) -> Gathered:
        """What is at hand of the cards this code names and of the standings those name in turn."""
        gathered = Gathered()
        found = gathered.found
        for key in self.checked.keys:
            card = get(key)
            if card is None:
                gathered.missing.append(key)
                continue
            found[key] = card
            if type(card.card) is Timeline:
                gathered.timelines.append((Scope(key.split(":", 2)[1]), card.card))
            for scope, needed in card.needs:
                standing = get(needed)
                if standing is None:
                    gathered.missing.append(needed)
                elif type(standing.card) is Timeline:
                    gathered.timelines.append((scope, standing.card))
        if gathered.missing:
            gathered.missing = [key for key in gathered.missing if key not in self.nothing]
        return gathered

    def item(self, found: dict[str, Held]) -> tuple[BatchCard, int] | None:
        """The batch and the index of an item that exists and is what it says; None otherwise."""
        checked = self.checked
        identity = checked.code.identity
        card = found.get(checked.keys[0])
        if identity.serial is None or card is None or card.permutation is None or type(card.card) is not BatchCard:
            return None
        if checked.index is None:
            checked.index = card.permutation.index(identity.serial.slot)
        batch = card.card
        if checked.index >= batch.quantity or batch.gtin != identity.gtin or batch.level != identity.level:
            return None
        if identity.check is not None and not check_matches(batch.check_key, identity):
            return None
        return batch, checked.index

    def known(
        self, gathered: Gathered, own: Timeline | None = None, seen: Seen | None = None, *, counted: bool = False
    ) -> Known:
        """Everything put together."""
        identity = self.checked.code.identity
        product = gathered.found.get(product_key(identity.gtin))
        batch = None if identity.serial is None else gathered.found.get(self.checked.keys[0])
        lot = None if identity.lot is None else gathered.found.get(lot_key(identity.gtin, identity.lot))
        timelines = gathered.timelines
        return Known(
            confirmed=True,
            product=product.card if product is not None and type(product.card) is ProductCard else None,
            batch=batch.card if batch is not None and type(batch.card) is BatchCard else None,
            lot=lot.card if lot is not None and type(lot.card) is LotCard else None,
            index=None if batch is None else self.checked.index,
            timelines=tuple(timelines) if own is None else ((Scope.CODE, own), *timelines),
            key_revoked=self.checked.code.seal is not None and _key_revoked(timelines, self.viewing.now),
            history=None if seen is None else seen.history,
            counted=counted,
        )


def _key_revoked(timelines: Iterable[tuple[Scope, Timeline]], now: int) -> bool:
    states = [timeline.at(now) for scope, timeline in timelines if scope is Scope.KEY]
    return any(standing is not None and standing.state is State.REVOKED for standing in states)


class Lookup:
    """Finds what is known of a code."""

    def __init__(self, memory: Memory, cache: Cache, source: View) -> None:
        self.memory, self.cache, self.source = memory, cache, source
        self._completions = Gather(self._complete, limit=2, size=8, deadline=2 * source.deadline)
        self._filling: dict[tuple[int, int, int], asyncio.Future[None]] = {}
        self._recent: OrderedDict[tuple[int, int, str], int] = OrderedDict()

    async def find(self, checked: Checked, viewing: Viewing) -> Known:
        """What is known of a code, confirmed or not. Raises nothing."""
        if self.memory.believed:
            try:
                return await self._in_redis(Question(checked, viewing))
            except Unavailable:
                pass  # the database is asked instead
        question = Question(checked, viewing)
        try:
            return await self._in_database(question)
        except Unavailable:
            gathered = question.gather(self.memory.get)
            question.item(gathered.found)
            counted = self._first_lately(question, gathered)
            return replace(question.known(gathered, counted=counted), confirmed=False)

    async def batch(self, number: int) -> BatchCard | None:
        """The card of a batch, for a serial without its GTIN. Raises Unavailable where nobody can say."""
        key = batch_key(number)
        if self.memory.believed:
            try:
                told = await self.cache.ask(Ask((key,) if self.memory.get(key) is None else ()))
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

    async def _in_redis(self, question: Question) -> Known:
        memory = self.memory
        seen: Seen | None = None
        asked = moved = False
        gathered, version = question.gather(memory.get), memory.version
        for _ in range(ROUNDS):
            item = question.item(gathered.found)
            look = self._look(question, item, again=seen is not None) if item and (seen is None or moved) else None
            if asked and not gathered.missing and look is None:
                return await self._seen(question, gathered, item, seen)
            told = await self.cache.ask(Ask(tuple(gathered.missing), look))
            asked, moved = True, told.moved
            if look is not None:
                seen = told.seen if seen is None else replace(told.seen, history=seen.history, counted=seen.counted)
            if told.absent:
                await self._fill(question, told)
            if memory.version != version or told.absent:
                gathered, version = question.gather(memory.get), memory.version
        raise Unavailable(_UNSETTLED)

    def _look(self, question: Question, item: tuple[BatchCard, int], *, again: bool = False) -> Look:
        viewing = question.viewing
        counts = viewing.counts and not again
        return Look(item[0].number, item[1], viewing.now, counts, viewing.visitor, viewing.city)

    async def _fill(self, question: Question, told: Told) -> None:
        """Read what Redis does not have from the database, and remember it if nothing changed meanwhile."""
        memory = self.memory
        epoch, revision = memory.epoch, memory.revision
        found = await self._read(sorted(told.absent))
        question.nothing.update(told.absent.difference(found))
        if (memory.epoch, memory.revision) == (epoch, revision):
            for key, card in found.items():
                memory.put(key, card)

    async def _seen(
        self, question: Question, gathered: Gathered, item: tuple[BatchCard, int] | None, seen: Seen | None
    ) -> Known:
        if item is None or seen is None:
            return question.known(gathered)
        timeline = await self._item_timeline(item, seen)
        counted = seen.counted
        if counted:  # should Redis go away before the reload
            self._remember((item[0].number, item[1], question.viewing.visitor), question.viewing.now)
        if seen.history is None:
            seen = await self._completed(question, item, seen)
            counted = seen.counted or (seen.history is None and self._first_lately(question, gathered))
        return question.known(gathered, timeline, seen, counted=counted)

    async def _item_timeline(self, item: tuple[BatchCard, int], seen: Seen) -> Timeline | None:
        key = item_key(item[0].number, item[1])
        newer = self.memory.overlay.get(key) if self.memory.overlay else None
        if newer is not None:
            return newer.card if isinstance(newer.card, Timeline) else None
        if seen.timeline is not None:
            try:
                card = held(key, *redis_keys.unpack(seen.timeline)).card
            except msgspec.MsgspecError as error:
                raise Unavailable(_UNSETTLED) from error
            return card if isinstance(card, Timeline) else None
        if item[0].exceptions and not seen.loaded:
            card = (await self._read([key])).get(key, Held(None, 0)).card
            return card if isinstance(card, Timeline) else None
        return None

    async def _completed(self, question: Question, item: tuple[BatchCard, int], seen: Seen) -> Seen:
        """The look repeated once Redis has been given the histories it lacks; unchanged where that cannot be done."""
        batch, index = item
        try:
            await self._filled((batch.number, index // redis_keys.BUCKET, batch.quantity))
            told = await self.cache.ask(Ask((), self._look(question, item)))
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
        await self.cache.complete(entries)
        return [None] * len(buckets)

    def _first_lately(self, question: Question, gathered: Gathered) -> bool:
        """While histories cannot be counted in Redis: whether this process has not counted this view just now."""
        item = question.item(gathered.found) if question.viewing.counts else None
        if item is None:
            return False
        key = (item[0].number, item[1], question.viewing.visitor)
        known = self._recent.get(key)
        if known is not None and question.viewing.now - known < redis_keys.VISIT_SECONDS:
            return False
        self._remember(key, question.viewing.now)
        return True

    def _remember(self, view: tuple[int, int, str], now: int) -> None:
        self._recent[view] = now
        self._recent.move_to_end(view)
        if len(self._recent) > _RECENT:
            self._recent.popitem(last=False)

    # From the database ------------------------------------------------------------------------------

    async def _in_database(self, question: Question) -> Known:
        memory = self.memory
        local: dict[str, Held] = {}
        remembered = memory.fresh(time.monotonic())

        def get(key: str) -> Held | None:
            return local.get(key) or (memory.get(key) if remembered else None)

        for _ in range(ROUNDS):
            gathered = question.gather(get)
            missing, item = gathered.missing, question.item(gathered.found)
            own = item_key(item[0].number, item[1]) if item and item[0].exceptions else None
            if own is not None and own not in local:
                missing.append(own)
            if not missing:
                timeline = local[own].card if own is not None else None
                own_timeline = timeline if isinstance(timeline, Timeline) else None
                return question.known(gathered, own_timeline, counted=self._first_lately(question, gathered))
            epoch = memory.epoch
            cards = await self._read(missing)
            local |= cards
            question.nothing.update(key for key in missing if key not in cards)
            if own is not None:
                local.setdefault(own, Held(None, 0))
            if remembered and memory.epoch == epoch:
                for key, card in cards.items():
                    memory.put(key, card)
        raise Unavailable(_UNSETTLED)

    async def _read(self, keys: Sequence[str]) -> dict[str, Held]:
        """Cards by key; a registry record without a standing is there, as None."""
        rows = await self.source.read(keys)
        found = {key: Held(None, 0) for key in keys if key[0] == "s"}
        for key, row in rows.items():
            try:
                found[key] = held(key, row.revision, row.body)
            except (msgspec.MsgspecError, ValueError) as error:
                raise Unavailable(_UNSETTLED) from error
        return found
