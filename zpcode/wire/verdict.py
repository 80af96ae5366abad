"""The verdict on a scanned code: one pure function of the evidence.

No verdict says "genuine": a seal proves who issued a code, not that the product in hand is the original. Malformed,
forged and unknown codes share one public name, so that guessing codes reveals nothing.
"""

from __future__ import annotations

import enum

import msgspec

from zpcode.wire.card import BatchCard, History, LotCard, ProductCard, Standing, Timeline
from zpcode.wire.payload import Level
from zpcode.wire.timelines import item_timeline
from zpcode.wire.vocabulary import SEVERITY, Scope, State


class Proof(enum.StrEnum):
    """What the code itself proves, before any status is read."""

    SEALED = "sealed"
    ONLINE = "online"
    MISSING = "missing"
    INVALID = "invalid"
    MALFORMED = "malformed"


class Verdict(enum.StrEnum):
    """The result of a scan."""

    VERIFIED = "verified"
    NOT_ACTIVATED = "not_activated"
    FLAGGED = "flagged"
    SUSPENDED = "suspended"
    REVOKED = "revoked"
    RECALLED = "recalled"
    EXPIRED = "expired"
    RECOGNITION_ENDED = "recognition_ended"
    KEY_REVOKED = "key_revoked"
    SEAL_INVALID = "seal_invalid"
    SEAL_MISSING = "seal_missing"
    UNKNOWN = "unknown"
    MALFORMED = "malformed"
    UNCONFIRMED = "unconfirmed"

    @property
    def public(self) -> str:
        """The name in public replies. Forged, unknown and malformed codes share one."""
        return "not_verified" if self in _ALIKE else self.value

    @property
    def http_status(self) -> int:
        """400 for a malformed code, 404 for a forged or unknown one, 200 for every other verdict."""
        return _STATUS.get(self, 200)

    @property
    def tone(self) -> str:
        """The severity for shape and colour on the page: good, caution, bad or neutral."""
        return _TONES[self]


_ALIKE = frozenset({Verdict.SEAL_INVALID, Verdict.UNKNOWN, Verdict.MALFORMED})
_STATUS = {Verdict.SEAL_INVALID: 404, Verdict.UNKNOWN: 404, Verdict.MALFORMED: 400}
_TONES = {
    Verdict.VERIFIED: "good",
    Verdict.NOT_ACTIVATED: "caution",
    Verdict.FLAGGED: "caution",
    Verdict.SUSPENDED: "bad",
    Verdict.REVOKED: "bad",
    Verdict.RECALLED: "bad",
    Verdict.EXPIRED: "caution",
    Verdict.RECOGNITION_ENDED: "caution",
    Verdict.KEY_REVOKED: "bad",
    Verdict.SEAL_INVALID: "bad",
    Verdict.SEAL_MISSING: "caution",
    Verdict.UNKNOWN: "bad",
    Verdict.MALFORMED: "bad",
    Verdict.UNCONFIRMED: "neutral",
}
_OF_STATE = {
    State.FLAGGED: Verdict.FLAGGED,
    State.SUSPENDED: Verdict.SUSPENDED,
    State.RECALLED: Verdict.RECALLED,
    State.REVOKED: Verdict.REVOKED,
}


_IDENTITY = ("gtin", "level", "quantity", "permutation_key", "check_key")
"""What a batch card never changes."""
_WIDTH = {scope: rank for rank, scope in enumerate(Scope)}


class Evidence(msgspec.Struct, frozen=True):
    """Everything that determines the verdict on a scanned code.

    `confirmed` is False if neither Redis nor PostgreSQL could be read. `timelines` are the decisions about every record
    that applies to the code. `index` is the index of the item in its batch.
    """

    level: Level
    proof: Proof
    confirmed: bool
    key_revoked: bool = False
    product: ProductCard | None = None
    batch: BatchCard | None = None
    lot: LotCard | None = None
    index: int | None = None
    timelines: tuple[tuple[Scope, Timeline], ...] = ()
    history: History | None = None


class Outcome(msgspec.Struct, frozen=True):
    """A verdict, and the decision that led to it with its scope, if there is one."""

    verdict: Verdict
    standing: Standing | None = None
    scope: Scope | None = None
    old_stock: str = ""


def worst(evidence: Evidence, now: int) -> tuple[Scope, Standing] | None:
    """The most severe decision in effect at `now` that applies to the code; among equals, the one with the narrowest scope."""
    most_severe: tuple[Scope, Standing] | None = None
    for scope, timeline in (*_own_timelines(evidence), *evidence.timelines):
        standing = timeline.at(now)
        if standing is not None and (most_severe is None or _weight(scope, standing) > _weight(*most_severe)):
            most_severe = scope, standing
    return most_severe


def _weight(scope: Scope, standing: Standing) -> tuple[int, int]:
    return SEVERITY[standing.state], -_WIDTH[scope]


def _own_timelines(evidence: Evidence) -> tuple[tuple[Scope, Timeline], ...]:
    batch, index = evidence.batch, evidence.index
    if batch is None:
        return ()
    whole = (Scope.BATCH, batch.timeline)
    if index is None or not batch.ranges:
        return (whole,)
    of_ranges = item_timeline(batch.ranges, index)
    return (whole,) if of_ranges is None else ((Scope.RANGE, of_ranges), whole)


def decide(evidence: Evidence, *, now: int, today: str) -> Outcome:
    """The verdict on a code. `now` is in seconds, `today` the ISO date in Asia/Shanghai.

    The first question with a negative answer gives the verdict: Is it a code of this service? Could its status be read?
    Is it suspended, recalled or revoked? Is there a record of its batch? Is it sealed? Is it activated? Is it flagged? Has it expired? Is the
    recognition in force?
    """
    refusal = _refusal(evidence)
    if refusal is not None:
        return Outcome(refusal)
    decision = worst(evidence, now)
    if decision is not None and decision[1].state is not State.FLAGGED and decision[1].state is not State.ENDED:
        return Outcome(_OF_STATE[decision[1].state], decision[1], decision[0])
    if _lost(evidence):
        return Outcome(Verdict.UNCONFIRMED)
    if evidence.proof is Proof.MISSING:
        return Outcome(Verdict.SEAL_MISSING, *_shown(decision))
    if _activated_at(evidence, now) == 0:
        return Outcome(Verdict.NOT_ACTIVATED, *_shown(decision))
    if decision is not None and decision[1].state is State.FLAGGED:
        return Outcome(Verdict.FLAGGED, decision[1], decision[0])
    if _expiry(evidence) and _expiry(evidence) < today:
        return Outcome(Verdict.EXPIRED, *_shown(decision))
    return _recognition(evidence, decision, today)


def doubted(evidence: Evidence, recorded: Evidence | None, *, now: int, today: str) -> Evidence:
    """The evidence from Redis while Redis and the database disagree; `recorded` is that of the database, None if it is silent.

    The decisions of both count, so the graver one shows. Without a grave decision, what only Redis shows is not
    confirmed: any evidence if the database is silent, and a batch with other keys than the database has.
    """
    if recorded is None:
        both, same = evidence, False
    else:
        same = _same_batch(evidence, recorded)
        both = msgspec.structs.replace(
            evidence,
            key_revoked=evidence.key_revoked or recorded.key_revoked,
            timelines=(*evidence.timelines, *_own_timelines(recorded), *recorded.timelines),
        )
        older = msgspec.structs.replace(both, product=recorded.product or both.product)
        if decide(older, now=now, today=today).verdict is Verdict.REVOKED:  # also where a recognition has ended
            both = older
    decision = worst(both, now)
    grave = decision is not None and decision[1].state not in {State.FLAGGED, State.ENDED}
    return msgspec.structs.replace(both, confirmed=both.confirmed and (same or grave))


def _same_batch(evidence: Evidence, recorded: Evidence) -> bool:
    """Whether the database does not contradict the batch of the evidence; it must have that of a code without a seal."""
    one, other = evidence.batch, recorded.batch
    if one is None or other is None:
        return one is None or evidence.proof is not Proof.ONLINE
    return all(getattr(one, name) == getattr(other, name) for name in _IDENTITY)


def holds_until(evidence: Evidence, now: int) -> int | None:
    """The first second after `now` at which the verdict may change on the same day; None: not before midnight."""
    timelines = [timeline for _, timeline in (*_own_timelines(evidence), *evidence.timelines)]
    changes = [moment for timeline in timelines if (moment := timeline.next_after(now)) is not None]
    return min(changes, default=None)


def _shown(decision: tuple[Scope, Standing] | None) -> tuple[Standing | None, Scope | None]:
    return (None, None) if decision is None else (decision[1], decision[0])


def _refusal(evidence: Evidence) -> Verdict | None:
    if evidence.proof is Proof.MALFORMED:
        return Verdict.MALFORMED
    if evidence.proof is Proof.INVALID:
        return Verdict.SEAL_INVALID
    if evidence.key_revoked:
        return Verdict.KEY_REVOKED
    if not evidence.confirmed:
        return Verdict.UNCONFIRMED
    if not _lost(evidence) and (evidence.product is None or _missing_item(evidence)):
        return Verdict.UNKNOWN
    return None


def _lost(evidence: Evidence) -> bool:
    """Whether the record of the code's batch or product is lost: nobody knows then which codes it has."""
    batch, product = evidence.batch, evidence.product
    return (batch is not None and batch.lost) or (product is not None and product.lost)


def _missing_item(evidence: Evidence) -> bool:
    if not evidence.level.is_item:
        return False
    batch, index, product = evidence.batch, evidence.index, evidence.product
    if batch is None or index is None or product is None:
        return True
    return index >= batch.quantity or batch.gtin != product.gtin or batch.level != evidence.level


def _activated_at(evidence: Evidence, now: int) -> int:
    if evidence.level.is_item and evidence.batch is not None:
        return evidence.batch.activated_at
    return now if evidence.lot is None else evidence.lot.activated_at


def _expiry(evidence: Evidence) -> str:
    if evidence.batch is not None:
        return evidence.batch.expiry_date
    return "" if evidence.lot is None else evidence.lot.expiry_date


def _recognition(evidence: Evidence, decision: tuple[Scope, Standing] | None, today: str) -> Outcome:
    recognition = None if evidence.product is None else evidence.product.recognition
    if recognition is None:
        return Outcome(Verdict.RECOGNITION_ENDED, *_shown(decision), old_stock="warned")
    if decision is None and recognition.valid_from <= today <= recognition.valid_to:
        return Outcome(Verdict.VERIFIED)
    if recognition.old_stock == "revoked":
        return Outcome(Verdict.REVOKED, *_shown(decision), old_stock="revoked")
    verdict = Verdict.VERIFIED if recognition.old_stock == "valid" else Verdict.RECOGNITION_ENDED
    return Outcome(verdict, *_shown(decision), old_stock=recognition.old_stock)
