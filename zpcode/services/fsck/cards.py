"""Compare the card table with the registry, the batches, the decisions and the events that cards are derived from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import date
from typing import Final

import msgspec

from zpcode.errors import Text
from zpcode.rules.cards import batch_card, lost_batch_card, standing
from zpcode.rules.status.permissions import StatusChange
from zpcode.services import notices
from zpcode.services.cards import events_of_batches, lot_cards
from zpcode.services.fsck import chain, journey
from zpcode.services.fsck.context import CheckContext
from zpcode.services.fsck.report import SHOWN, CheckResult, Invariant, InvariantState
from zpcode.services.registry.product_cards import product_cards
from zpcode.services.withheld_cards import withheld_cards
from zpcode.store import audit, batches, recovery, status
from zpcode.store import cards as card_table
from zpcode.store.cards import Card
from zpcode.store.database.session import Connection, transaction
from zpcode.store.monitoring import integrity
from zpcode.wire.calendar import today
from zpcode.wire.card import (
    CARD_TYPES,
    AnyCard,
    BatchCard,
    batch_key,
    notices_key,
    product_key,
)
from zpcode.wire.vocabulary import Scope

HEAD: Final = Invariant(
    "card-head",
    Text("最新修订号就是最新卡片的修订号", "the revision of the head is that of the newest card"),
    Text(
        "扫码服务据此得知更改；请停止写入，把 card_head.revision 调到 max(card.revision)",
        "scan services use it to notice changes: stop all writers, and set card_head.revision to max(card.revision)",
    ),
)
CARDS: Final = Invariant(
    "cards",
    Text("每张卡片都与登记册、批次和决定推算的一致", "each card is as derived from registry, batches and decisions"),
    Text(
        "zpcode fsck --repair 按决定重写卡片（仅在审计日志完整时）；没有依据的卡片须人工查明",
        "zpcode fsck --repair writes the cards again from the decisions if the audit log is intact; investigate cards"
        " without a basis",
    ),
)

WITHHELD: Final = Text(
    "先核实并更正与审计日志不符的记录（registry-records、batch-audit、recovery-records），再执行 zpcode fsck --repair",
    "first make sure of the records that differ from the audit log and correct them (registry-records, batch-audit,"
    " recovery-records); then run zpcode fsck --repair again",
)


def head(context: CheckContext, outcome: CheckResult) -> None:
    """Check that the head has the revision of the newest card: readers of revision N rely on having all cards up to N."""
    with integrity.snapshot(context.engine) as connection:
        newest, _ = integrity.newest_card(connection)
        head_revision = card_table.head(connection)
    outcome.examined = 1
    if newest != head_revision:
        outcome.find(
            "head",
            f"card_head 为 {head_revision}，最新卡片为 {newest}",
            f"card_head has {head_revision}, the newest card has {newest}",
            where="card_head",
        )


def cards(context: CheckContext, outcome: CheckResult) -> None:
    """Check that every expected card exists as derived, and that there are no other cards."""
    wrong: list[str] = []
    with integrity.snapshot(context.engine) as connection:
        days = _days(connection, context)
        with_items = status.batches_with_items(connection)
        for keys in integrity.expected_cards(connection):
            outcome.examined += len(keys)
            for key, kind in _differing(connection, keys, days, with_items).items():
                wrong.append(key)
                _add_finding(outcome, key, kind)
        for key in integrity.baseless_cards(connection, SHOWN + 1):
            outcome.find("groundless", "卡片没有依据", "there is no basis for this card", where=key)
    if context.repair and wrong:
        _repair(context, outcome, wrong)


def _days(connection: Connection, context: CheckContext) -> tuple[date, ...]:
    """The dates for which product cards may be derived: today, or the last date until the worker has updated them."""
    _, turned_on = integrity.newest_card(connection)
    now = today(context.now)
    return (now,) if turned_on >= now else (now, turned_on)


def _add_finding(outcome: CheckResult, key: str, kind: str) -> None:
    zh, en = {
        "missing": ("缺少卡片", "the card is missing"),
        "unreadable": ("卡片无法读取", "the card cannot be read"),
        "differs": ("卡片与推算的不符", "the card differs from the derived one"),
    }[kind]
    outcome.find(kind, zh, en, where=key)


def _differing(
    connection: Connection, keys: Sequence[str], days: Sequence[date], with_items: Collection[int]
) -> dict[str, str]:
    """The cards among these keys that differ from the derived cards of all these dates, and how."""
    stored = {card.key: card for card in card_table.fetch(connection, list(keys))}
    differing: dict[str, str] = {}
    for day in days:
        to_check = [key for key in keys if day == days[0] or (key in differing and key.startswith("p:"))]
        for key, right in derived_cards(connection, to_check, day, with_items).items():
            if kind := _kind(stored.get(key), right):
                differing[key] = kind
            else:
                differing.pop(key, None)
    return differing


def _kind(card: Card | None, right: AnyCard) -> str:
    if card is None:
        return "missing"
    try:
        decoded = msgspec.msgpack.decode(card.body, type=CARD_TYPES[card.key[0]])
    except (msgspec.MsgspecError, ValueError):
        return "unreadable"
    return "" if decoded == right else "differs"


def derived_cards(
    connection: Connection, keys: Sequence[str], day: date, with_items: Collection[int]
) -> Mapping[str, AnyCard]:
    """Derive the cards with these keys for a date; keys without a basis are left out."""
    derived: dict[str, AnyCard] = {}
    gtins = [key[2:] for key in keys if key.startswith("p:")]
    if gtins:
        derived |= {product_key(gtin): card for gtin, card in product_cards(connection, gtins, day).items()}
    numbers = [int(key[2:]) for key in keys if key.startswith("b:")]
    if numbers:
        derived |= _batch_cards(connection, numbers, with_items)
    lots = [(gtin, lot) for gtin, _, lot in (key[2:].partition(":") for key in keys if key.startswith("l:"))]
    derived |= lot_cards(connection, lots)
    if notices_key() in keys and (card := notices.derived_card(connection)) is not None:
        derived[notices_key()] = card
    return derived | _standings(connection, [key for key in keys if key[0] in "sx"])


def _batch_cards(connection: Connection, numbers: Sequence[int], with_items: Collection[int]) -> dict[str, AnyCard]:
    decisions = _by_target(connection, [(scope, str(one)) for one in numbers for scope in (Scope.BATCH, Scope.RANGE)])
    derived: dict[str, AnyCard] = {}
    stored = batches.numbered(connection, numbers)
    events = events_of_batches(connection, stored)
    for batch in stored:
        target = str(batch.number)
        decided = [*decisions.get((Scope.BATCH, target), ()), *decisions.get((Scope.RANGE, target), ())]
        derived[batch_key(batch.number)] = batch_card(
            batch, decided, exceptions=batch.number in with_items, events=events[batch.number]
        )
    for number, former in recovery.lost_batches(connection, numbers).items():
        decided = [one for scope in (Scope.BATCH, Scope.RANGE) for one in decisions.get((scope, str(number)), ())]
        card = None if former is None else msgspec.msgpack.decode(former, type=BatchCard)
        derived[batch_key(number)] = lost_batch_card(number, card, decided, exceptions=number in with_items)
    return derived


def _standings(connection: Connection, keys: Sequence[str]) -> dict[str, AnyCard]:
    targets: dict[tuple[Scope, str], str] = {}
    for key in keys:
        kind, _, rest = key.partition(":")
        scope, _, target = ("code", "", rest) if kind == "x" else rest.partition(":")
        targets[Scope(scope), target] = key
    by_target = _by_target(connection, list(targets)) if targets else {}
    return {targets[target]: standing(decisions) for target, decisions in by_target.items()}


def _by_target(
    connection: Connection, targets: Sequence[tuple[Scope, str]]
) -> Mapping[tuple[Scope, str], list[StatusChange]]:
    by_target: defaultdict[tuple[Scope, str], list[StatusChange]] = defaultdict(list)
    for one in status.about(connection, targets):
        by_target[one.scope, one.target].append(one)
    return by_target


def _repair(context: CheckContext, outcome: CheckResult, wrong: Sequence[str]) -> None:
    """Write the cards again, but only if all decisions and events are in the audit log, and the records of each card too."""
    conditions = (chain.CHAIN, chain.chain), (chain.DECISIONS, chain.decisions), (journey.JOURNEY, journey.events)
    for invariant, check in conditions:
        trusted = CheckResult(invariant)
        check(context, trusted)
        if trusted.state is not InvariantState.HOLDS:
            return
    for start in range(0, len(wrong), 500):
        keys = wrong[start : start + 500]
        with transaction(context.engine) as connection:
            audit.lock(connection)  # every writer of decisions takes it, so nothing changes between reading and writing
            days = _days(connection, context)
            with_items = status.batches_with_items(connection)
            differing = _differing(connection, keys, days, with_items)
            withheld = withheld_cards(connection, list(differing))
            repaired = [key for key in differing if key not in withheld]
            right = derived_cards(connection, repaired, days[0], with_items)
            card_table.put_cards(connection, {key: msgspec.msgpack.encode(card) for key, card in right.items()})
        for key in keys:
            if key in withheld:
                _withhold(outcome, key, withheld[key])
            else:
                outcome.add_repair(f"已重写卡片 {key}", f"wrote card {key} again")


def _withhold(outcome: CheckResult, key: str, names: Collection[str]) -> None:
    """Say why a card was not written again. Only a person can decide which is right, the record or the card."""
    listed = ", ".join(sorted(names))
    outcome.find(
        "withheld",
        f"未重写：记录与审计日志不符：{listed}（zpcode audit show --record {min(names)}）",
        f"not written again: records differ from the audit log: {listed} (zpcode audit show --record {min(names)})",
        where=key,
    )
    outcome.advice = WITHHELD
