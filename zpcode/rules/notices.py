"""The public notices: which product and target each is about, in words, and when a notice is over.

A notice is a decision of a regulator or the operator that has a notice number and is not a restoration. A notice is
over when its authority's decision was lifted, or when the same authority made a milder decision. A graver decision of
the same authority leaves the notice standing; if it has a number, it is a notice too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from zpcode.rules.status.decisions import Actor
from zpcode.rules.status.permissions import StatusChange
from zpcode.wire.calendar import seconds
from zpcode.wire.card import MAX_NOTICES
from zpcode.wire.vocabulary import SEVERITY, Bilingual, Scope

_ANY: Final = (0, 0)
SHARES: Final = {
    frozenset({Actor.PROVINCE, Actor.OPERATOR}): 20,
    frozenset({Actor.CITY}): 15,
    frozenset({Actor.COUNTY}): 15,
}
"""Places on the card that only these levels can use up. A place that its level does not use is for the newest others."""


@dataclass(frozen=True, slots=True)
class Names:
    """The names of the targets of notices in the registry, by registry key. A target that is not registered is left out.

    `batches` maps a batch number to GTIN and lot, `recognitions` a number to a GTIN, `certificates` a number to a USCC.
    """

    products: Mapping[str, Bilingual] = field(default_factory=dict)
    enterprises: Mapping[str, Bilingual] = field(default_factory=dict)
    standards: Mapping[str, Bilingual] = field(default_factory=dict)
    batches: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    recognitions: Mapping[str, str] = field(default_factory=dict)
    certificates: Mapping[str, str] = field(default_factory=dict)


def selected(candidates: Iterable[StatusChange]) -> list[StatusChange]:
    """The notices for the card, newest first, at most `MAX_NOTICES`, of the newest notices of each level.

    The notices of many counties never displace those of a city or the province.
    """
    newest = sorted(candidates, key=lambda change: change.id, reverse=True)
    first: list[StatusChange] = []
    for actors, places in SHARES.items():
        first += [change for change in newest if change.actor in actors][:places]
    taken = {change.id for change in first}
    others = [change for change in newest if change.id not in taken]
    chosen = [*first, *others[: MAX_NOTICES - len(first)]]
    return sorted(chosen, key=lambda change: change.id, reverse=True)


def ended_at(change: StatusChange, decisions: Sequence[StatusChange]) -> int:
    """When later decisions ended a decision for the last of its items (seconds); 0 while it is in force for any item.

    `decisions` are all decisions about the same target. A restoration that takes effect in the future already counts.
    """
    left = [_reach(change)]
    order = (change.effective_at, change.id)
    for later in sorted(decisions, key=lambda decision: (decision.effective_at, decision.id)):
        if (later.effective_at, later.id) <= order or not _frees(later, change):
            continue
        left = [part for stretch in left for part in _without(stretch, _reach(later))]
        if not left:
            return seconds(later.effective_at)
    return 0


def _reach(change: StatusChange) -> tuple[int, int]:
    return _ANY if change.first is None or change.last is None else (change.first, change.last)


def _frees(later: StatusChange, change: StatusChange) -> bool:
    """Whether a later decision ends an earlier one for the items that both reach."""
    if later.lifts is not None:
        return later.lifts is change.actor
    return later.actor is change.actor and SEVERITY[later.state] < SEVERITY[change.state]


def _without(stretch: tuple[int, int], freed: tuple[int, int]) -> list[tuple[int, int]]:
    """The parts of a range of items that remain without the freed items; both ends are included."""
    parts = [(stretch[0], min(stretch[1], freed[0] - 1)), (max(stretch[0], freed[1] + 1), stretch[1])]
    return [part for part in parts if part[0] <= part[1]]


def gtin_of(change: StatusChange, names: Names) -> str:
    """The GTIN of the product that a decision is about; empty if it is not about one product."""
    if change.scope is Scope.PRODUCT:
        return change.target
    if change.scope is Scope.LOT:
        return change.target.partition(":")[0]
    if change.scope is Scope.RECOGNITION:
        return names.recognitions.get(change.target, "")
    return names.batches.get(number_of(change), ("", ""))[0]


def number_of(change: StatusChange) -> str:
    """The number of the batch that a decision is about, wholly or in part; empty for other scopes."""
    within = change.scope in {Scope.CODE, Scope.RANGE, Scope.BATCH}
    return change.target.partition(":")[0] if within else ""


def subject_text(change: StatusChange, gtin: str, names: Names) -> Bilingual:
    """What a decision is about, in words; `gtin` is its product as `gtin_of` gives it."""
    match change.scope:
        case Scope.ENTERPRISE:
            return names.enterprises.get(change.target, Bilingual(change.target, change.target))
        case Scope.STANDARD:
            return _joined(Bilingual(change.target, change.target), names.standards.get(change.target))
        case Scope.CERTIFICATE:
            named = f"认证证书 {change.target}", f"certificate {change.target}"
            return _joined(names.enterprises.get(names.certificates.get(change.target, "")), Bilingual(*named))
        case Scope.KEY:
            return Bilingual(f"签名密钥 {change.target}", f"signing key {change.target}")
    return _joined(names.products.get(gtin, Bilingual(gtin, gtin)), *_part(change, names))


def _part(change: StatusChange, names: Names) -> list[Bilingual]:
    """Which part of a product a decision is about."""
    if change.scope is Scope.RECOGNITION:
        return [Bilingual(f"品牌认定 {change.target}", f"recognition {change.target}")]
    lot = (
        change.target.partition(":")[2]
        if change.scope is Scope.LOT
        else names.batches.get(number_of(change), ("", ""))[1]
    )
    parts = [Bilingual(f"批号 {lot}", f"lot {lot}")] if lot else []
    if number_of(change) and not lot:
        parts.append(Bilingual(f"码批次 {number_of(change)}", f"batch of codes {number_of(change)}"))
    if change.scope is Scope.CODE:
        parts.append(Bilingual("其中 1 件", "1 item of it"))
    if change.first is not None and change.last is not None:
        count = change.last - change.first + 1
        parts.append(Bilingual(f"其中 {count} 件", f"{count} items of it" if count > 1 else "1 item of it"))
    return parts


def _joined(*texts: Bilingual | None) -> Bilingual:
    """Texts joined by dots. The English version has the Chinese of a text without English."""
    given = [text for text in texts if text is not None and text.zh]
    return Bilingual(" · ".join(text.zh for text in given), " · ".join(text.en or text.zh for text in given))
