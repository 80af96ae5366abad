"""What each kind of actor may use of one target and of its card: nobody can use up the share of another.

A scan reads the whole card, so a card is bounded. If all actors shared one bound, an enterprise with many decisions could
keep the province from deciding. So each kind of actor has its own share, and a decision is refused only for what its own
actor has decided. Decisions that can no longer be in effect, now or later, use nothing but `MAX_DECISIONS`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec

from zpcode.errors import Conflict, Finding, Text
from zpcode.rules.status.decisions import ACTORS, Actor
from zpcode.rules.status.layers import content
from zpcode.rules.status.ranges import ActorRanges, by_actor
from zpcode.rules.status.timelines import TimelineDecision
from zpcode.wire.card import Standing

MAX_DECISIONS: Final = 5000
"""Decisions of one kind of actor about one target, ever: every later decision reads them all."""
MAX_PENDING: Final = 20
"""Decisions of one kind of actor about one target that have not taken effect yet."""
MAX_RANGES: Final = 500
"""Decisions of one kind of actor about ranges of one batch that are in force, are to come, or cut a range in two."""
MAX_BYTES: Final = {
    Actor.ENTERPRISE: 48 * 1024,
    Actor.COUNTY: 32 * 1024,
    Actor.CITY: 48 * 1024,
    Actor.PROVINCE: 64 * 1024,
    Actor.OPERATOR: 64 * 1024,
    Actor.RECOVERY: 64 * 1024,
}
"""Bytes of a card for the decisions of one kind of actor; 320 KiB together."""
ENTRY_BYTES: Final = 40
"""Bytes of one decision on the card besides its texts: two `RangeEntry`, because each decision may cut a range in two."""


@dataclass(slots=True)
class ShareInUse:
    """What one kind of actor uses of a target: decisions that need place on the card, and bytes of the card."""

    decisions: int = 0
    size: int = 0


def in_use(levels: Mapping[Actor, ActorRanges]) -> dict[Actor, ShareInUse]:
    """The share that each actor uses of a target. The layers of the card are never larger than all shares together.

    A decision uses the share of the actor that made it, also a restoration that ends another actor's decision.
    """
    used = {actor: ShareInUse() for actor in Actor}
    counted: set[int] = set()
    for ranges in levels.values():
        texts: set[tuple[Actor, Standing]] = set()
        for decision in ranges.counting():
            if decision.id not in counted:
                counted.add(decision.id)
                used[decision.actor].decisions += 1
                used[decision.actor].size += ENTRY_BYTES
        for decision in ranges.on_card():
            texts.add((decision.actor, content(decision)))
        for actor, text in texts:
            used[actor].size += len(msgspec.msgpack.encode(text))
    return used


def check(decisions: Sequence[TimelineDecision], actor: Actor, now: datetime) -> None:
    """Raise Conflict if `actor` has more decisions about a target than its share. `decisions` are all about the target."""
    own = sum(one.actor is actor for one in decisions)
    if own > MAX_DECISIONS:
        raise _used_up(
            "too-many-decisions", actor, f"对该对象已作出 {MAX_DECISIONS} 项决定；请对更大的范围作出决定",
            f"{MAX_DECISIONS} decisions about this target have been made; decide about a wider target",
        )  # fmt: skip
    levels = by_actor(decisions, now)
    coming = (one for ranges in levels.values() for one in ranges.coming)
    if sum(one.actor is actor for one in coming) > MAX_PENDING:
        raise _used_up(
            "too-many-pending", actor, f"对该对象已有 {MAX_PENDING} 项待生效的决定；请先取消其中一项或等待生效",
            f"{MAX_PENDING} decisions about this target have not taken effect yet; cancel one, or wait for one",
        )  # fmt: skip
    _check_card(in_use(levels)[actor], actor)


def _check_card(used: ShareInUse, actor: Actor) -> None:
    if used.decisions > MAX_RANGES:
        raise _used_up(
            "too-many-ranges", actor, f"在该批次已有 {MAX_RANGES} 项有效的号段决定；请合并号段，或对整批作出决定",
            f"{MAX_RANGES} decisions about ranges of this batch count; decide about the batch, or about wider ranges",
        )  # fmt: skip
    if used.size > MAX_BYTES[actor]:
        kibibytes = MAX_BYTES[actor] // 1024
        raise _used_up(
            "card-too-large", actor, f"的公开说明在该对象的卡片上超过 {kibibytes} KiB；请缩短说明，或让多项决定使用同一说明",
            f"the public notes need more than {kibibytes} KiB on the card of this target; shorten them, or use one note",
        )  # fmt: skip


def _used_up(slug: str, actor: Actor, zh: str, en: str) -> Conflict:
    who = ACTORS[actor]
    text = Text(
        f"{who.zh}{zh}。其他各级的额度不受影响", f"the share of {who.en} is used up: {en}; others have their own shares"
    )
    return Conflict(text, (Finding(slug, text),))
