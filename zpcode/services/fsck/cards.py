"""The card table against what it is derived from: registry, batches, and the decisions about either."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import date
from typing import Final

import msgspec

from zpcode.errors import Text
from zpcode.rules.cards import batch_card, standing
from zpcode.rules.status.permissions import StatusChange
from zpcode.services import notices
from zpcode.services.cards import events_of_batches, lot_cards
from zpcode.services.fsck import chain, journey
from zpcode.services.fsck.context import CheckContext
from zpcode.services.fsck.report import SHOWN, CheckResult, Invariant, InvariantState
from zpcode.services.registry.product_cards import product_cards
from zpcode.store import audit, batches, status
from zpcode.store import cards as card_table
from zpcode.store.cards import Card
from zpcode.store.database.session import Connection, transaction
from zpcode.store.monitoring import integrity
from zpcode.wire.calendar import today
from zpcode.wire.card import (
    BatchCard,
    LotCard,
    NoticesCard,
    ProductCard,
    Timeline,
    batch_key,
    notices_key,
    product_key,
)
from zpcode.wire.vocabulary import Scope

HEAD: Final = Invariant(
    "card-head",
    Text("最新修订号就是最新卡片的修订号", "the head's revision is that of the newest card"),
    Text(
        "扫码服务据此得知更改；停止写入，把 card_head.revision 调到 max(card.revision)",
        "scan services learn of changes by it: stop writing, and set card_head.revision to max(card.revision)",
    ),
)
CARDS: Final = Invariant(
    "cards",
    Text("每张卡片都与登记册、批次和决定推算的一致", "each card is what registry, batches and decisions make it"),
    Text(
        "zpcode fsck --repair 按决定重写卡片（仅在审计日志完整时）；没有依据的卡片须人工查明",
        "zpcode fsck --repair writes cards anew from the decisions, where the audit log is whole; a card without ground"
        " has to be looked into",
    ),
)
_KINDS: Final[dict[str, type[ProductCard | BatchCard | LotCard | Timeline | NoticesCard]]] = {
    "p": ProductCard,
    "b": BatchCard,
    "l": LotCard,
    "s": Timeline,
    "x": Timeline,
    "n": NoticesCard,
}
Derived = ProductCard | BatchCard | LotCard | Timeline | NoticesCard


def head(context: CheckContext, outcome: CheckResult) -> None:
    """Whoever has seen revision N has seen every card up to N: so the newest card stands at the head."""
    with integrity.snapshot(context.engine) as connection:
        newest, _ = integrity.newest_card(connection)
        told = card_table.head(connection)
    outcome.examined = 1
    if newest != told:
        outcome.find(
            "head",
            f"card_head 为 {told}，最新卡片为 {newest}",
            f"card_head says {told}, the newest card has {newest}",
            where="card_head",
        )


def cards(context: CheckContext, outcome: CheckResult) -> None:
    """Every card there has to be, as it has to be, and none besides."""
    wrong: list[str] = []
    with integrity.snapshot(context.engine) as connection:
        days = _days(connection, context)
        excepted = status.batches_with_items(connection)
        for keys in integrity.expected_cards(connection):
            outcome.examined += len(keys)
            for key, kind in _differing(connection, keys, days, excepted).items():
                wrong.append(key)
                _tell(outcome, key, kind)
        for key in integrity.baseless_cards(connection, SHOWN + 1):
            outcome.find("groundless", "卡片没有依据", "nothing stands behind this card", where=key)
    if context.repair and wrong:
        _repair(context, outcome, wrong)


def _days(connection: Connection, context: CheckContext) -> tuple[date, ...]:
    """The days a product card may stand for: today, and the day before the worker has turned them."""
    _, turned_on = integrity.newest_card(connection)
    now = today(context.now)
    return (now,) if turned_on >= now else (now, turned_on)


def _tell(outcome: CheckResult, key: str, kind: str) -> None:
    zh, en = {
        "missing": ("缺少卡片", "the card is missing"),
        "unreadable": ("卡片无法读取", "the card cannot be read"),
        "differs": ("卡片与推算的不符", "the card is not what it is derived from"),
    }[kind]
    outcome.find(kind, zh, en, where=key)


def _differing(
    connection: Connection, keys: Sequence[str], days: Sequence[date], excepted: Collection[int]
) -> dict[str, str]:
    """Those of these cards that are not as they have to be on one of these days, and in what way."""
    stored = {card.key: card for card in card_table.fetch(connection, list(keys))}
    found: dict[str, str] = {}
    for day in days:
        asked = [key for key in keys if day == days[0] or (key in found and key.startswith("p:"))]
        for key, right in _derived(connection, asked, day, excepted).items():
            if kind := _kind(stored.get(key), right):
                found[key] = kind
            else:
                found.pop(key, None)
    return found


def _kind(card: Card | None, right: Derived) -> str:
    if card is None:
        return "missing"
    try:
        stands = msgspec.msgpack.decode(card.body, type=_KINDS[card.key[0]])
    except (msgspec.MsgspecError, ValueError):
        return "unreadable"
    return "" if stands == right else "differs"


def _derived(
    connection: Connection, keys: Sequence[str], day: date, excepted: Collection[int]
) -> Mapping[str, Derived]:
    """These cards as they follow from everything else on a day; those without ground are left out."""
    found: dict[str, Derived] = {}
    gtins = [key[2:] for key in keys if key.startswith("p:")]
    if gtins:
        found |= {product_key(gtin): card for gtin, card in product_cards(connection, gtins, day).items()}
    numbers = [int(key[2:]) for key in keys if key.startswith("b:")]
    if numbers:
        found |= _batch_cards(connection, numbers, excepted)
    lots = [(gtin, lot) for gtin, _, lot in (key[2:].partition(":") for key in keys if key.startswith("l:"))]
    found |= lot_cards(connection, lots)
    if notices_key() in keys and (card := notices.derived_card(connection)) is not None:
        found[notices_key()] = card
    return found | _standings(connection, [key for key in keys if key[0] in "sx"])


def _batch_cards(connection: Connection, numbers: Sequence[int], excepted: Collection[int]) -> dict[str, Derived]:
    made = _by_target(connection, [(scope, str(one)) for one in numbers for scope in (Scope.BATCH, Scope.RANGE)])
    found: dict[str, Derived] = {}
    known = batches.numbered(connection, numbers)
    events = events_of_batches(connection, known)
    for batch in known:
        target = str(batch.number)
        decided = [*made.get((Scope.BATCH, target), ()), *made.get((Scope.RANGE, target), ())]
        found[batch_key(batch.number)] = batch_card(
            batch, decided, exceptions=batch.number in excepted, events=events[batch.number]
        )
    return found


def _standings(connection: Connection, keys: Sequence[str]) -> dict[str, Derived]:
    targets: dict[tuple[Scope, str], str] = {}
    for key in keys:
        kind, _, rest = key.partition(":")
        scope, _, target = ("code", "", rest) if kind == "x" else rest.partition(":")
        targets[Scope(scope), target] = key
    made = _by_target(connection, list(targets)) if targets else {}
    return {targets[place]: standing(decided) for place, decided in made.items()}


def _by_target(
    connection: Connection, targets: Sequence[tuple[Scope, str]]
) -> Mapping[tuple[Scope, str], list[StatusChange]]:
    found: defaultdict[tuple[Scope, str], list[StatusChange]] = defaultdict(list)
    for one in status.about(connection, targets):
        found[one.scope, one.target].append(one)
    return found


def _repair(context: CheckContext, outcome: CheckResult, wrong: Sequence[str]) -> None:
    """Write cards anew, but only from decisions and events that the audit log bears out."""
    grounds = (chain.CHAIN, chain.chain), (chain.DECISIONS, chain.decisions), (journey.JOURNEY, journey.events)
    for invariant, check in grounds:
        trusted = CheckResult(invariant)
        check(context, trusted)
        if trusted.state is not InvariantState.HOLDS:
            return
    for start in range(0, len(wrong), 500):
        keys = wrong[start : start + 500]
        with transaction(context.engine) as connection:
            audit.lock(connection)  # whoever decides takes it too: nothing changes between reading and writing
            days = _days(connection, context)
            excepted = status.batches_with_items(connection)
            differing = _differing(connection, keys, days, excepted)
            right = _derived(connection, list(differing), days[0], excepted)
            card_table.put_cards(connection, {key: msgspec.msgpack.encode(card) for key, card in right.items()})
        for key in keys:
            outcome.mend(f"已重写卡片 {key}", f"wrote card {key} anew")
