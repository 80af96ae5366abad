"""The verdict: every state of a code, and which of two states wins."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from zpcode.wire.card import (
    BatchCard,
    EnterpriseInfo,
    LotCard,
    ProductCard,
    RangeEntry,
    RangeLayer,
    RecognitionInfo,
    Standing,
    Timeline,
)
from zpcode.wire.payload import Level
from zpcode.wire.verdict import Evidence, Proof, Verdict, decide
from zpcode.wire.vocabulary import SEVERITY, Bilingual, Scope, State

NOW = 1_795_000_000
TODAY = "2026-11-21"
RECOGNITION = RecognitionInfo("R1", "certification", "2025-01-01", "2027-12-31", certificate="C1")
PRODUCT = ProductCard(
    gtin="09501101020917",
    name=Bilingual("螺杆", "Screw"),
    enterprise=EnterpriseInfo("91330900MA2A00001X", Bilingual("某厂"), "330902", Bilingual("定海区")),
    recognition=RECOGNITION,
    standards=(),
    certificates=(),
    indicators=(),
    commitments=(),
)
BATCH = BatchCard(
    number=7,
    gtin=PRODUCT.gtin,
    level="item",
    quantity=100,
    permutation_key=bytes(16),
    check_key=bytes(16),
    activated_at=NOW - 100,
)
ITEM = Evidence(Level.ITEM, Proof.SEALED, confirmed=True, product=PRODUCT, batch=BATCH, index=5)


def timeline(*decisions: tuple[State, int]) -> Timeline:
    """Decisions as (state, seconds from NOW)."""
    return Timeline(tuple(Standing(state, NOW + offset) for state, offset in decisions))


def item(**changes: Any) -> Evidence:
    """A valid sealed item, with these changes to its evidence."""
    return replace(ITEM, **changes)


def batch(**changes: Any) -> BatchCard:
    """A valid batch, with these changes."""
    return msgspec.structs.replace(BATCH, **changes)


def recognised(**changes: Any) -> ProductCard:
    """The product with a changed recognition."""
    return msgspec.structs.replace(PRODUCT, recognition=msgspec.structs.replace(RECOGNITION, **changes))


def verdict(evidence: Evidence) -> Verdict:
    """The verdict at NOW."""
    return decide(evidence, now=NOW, today=TODAY).verdict


CASES = {
    "sound": (item(), Verdict.VERIFIED),
    "malformed": (item(proof=Proof.MALFORMED), Verdict.MALFORMED),
    "forged": (item(proof=Proof.INVALID), Verdict.SEAL_INVALID),
    "no seal": (item(proof=Proof.MISSING), Verdict.SEAL_MISSING),
    "key revoked": (item(key_revoked=True), Verdict.KEY_REVOKED),
    "nobody to ask": (item(confirmed=False, product=None, batch=None), Verdict.UNCONFIRMED),
    "nobody to ask, card remembered": (item(confirmed=False), Verdict.UNCONFIRMED),
    "unknown product": (item(product=None), Verdict.UNKNOWN),
    "unknown batch": (item(batch=None), Verdict.UNKNOWN),
    "index at the end of the batch": (item(index=99), Verdict.VERIFIED),
    "index behind the batch": (item(index=100), Verdict.UNKNOWN),
    "batch of another product": (item(batch=batch(gtin="09501101020924")), Verdict.UNKNOWN),
    "compact serial on a sealed batch": (item(batch=batch(level="compact")), Verdict.UNKNOWN),
    "not activated": (item(batch=batch(activated_at=0)), Verdict.NOT_ACTIVATED),
    "best before yesterday": (item(batch=batch(expiry_date="2026-11-20")), Verdict.EXPIRED),
    "best before today": (item(batch=batch(expiry_date=TODAY)), Verdict.VERIFIED),
    "batch suspended": (item(batch=batch(timeline=timeline((State.SUSPENDED, -1)))), Verdict.SUSPENDED),
    "item revoked": (item(timelines=((Scope.CODE, timeline((State.REVOKED, -1))),)), Verdict.REVOKED),
    "enterprise flagged": (item(timelines=((Scope.ENTERPRISE, timeline((State.FLAGGED, -1))),)), Verdict.FLAGGED),
    "lot recalled": (item(timelines=((Scope.LOT, timeline((State.RECALLED, 0))),)), Verdict.RECALLED),
    "revoked from tomorrow": (item(timelines=((Scope.CODE, timeline((State.REVOKED, 86_400))),)), Verdict.VERIFIED),
    "revoked and restored": (
        item(timelines=((Scope.CODE, timeline((State.REVOKED, -9), (State.GOOD, -3))),)),
        Verdict.VERIFIED,
    ),
    "recognition over, goods warned": (item(product=recognised(valid_to="2026-11-20")), Verdict.RECOGNITION_ENDED),
    "recognition over, goods valid": (
        item(product=recognised(valid_to="2026-11-20", old_stock="valid")),
        Verdict.VERIFIED,
    ),
    "recognition over, goods revoked": (
        item(product=recognised(valid_to="2026-11-20", old_stock="revoked")),
        Verdict.REVOKED,
    ),
    "recognition to begin": (item(product=recognised(valid_from="2026-11-22")), Verdict.RECOGNITION_ENDED),
    "never recognised": (item(product=msgspec.structs.replace(PRODUCT, recognition=None)), Verdict.RECOGNITION_ENDED),
    "standard abolished": (
        item(timelines=((Scope.STANDARD, timeline((State.ENDED, -1))),)),
        Verdict.RECOGNITION_ENDED,
    ),
    "compact": (item(level=Level.COMPACT, proof=Proof.ONLINE, batch=batch(level="compact")), Verdict.VERIFIED),
    "product code": (
        Evidence(Level.PRODUCT, Proof.SEALED, confirmed=True, product=PRODUCT),
        Verdict.VERIFIED,
    ),
    "lot not activated": (
        Evidence(Level.LOT, Proof.SEALED, confirmed=True, product=PRODUCT, lot=LotCard(PRODUCT.gtin, "L1")),
        Verdict.NOT_ACTIVATED,
    ),
    "lot expired": (
        Evidence(
            Level.LOT,
            Proof.SEALED,
            confirmed=True,
            product=PRODUCT,
            lot=LotCard(PRODUCT.gtin, "L1", expiry_date="2026-01-01", activated_at=1),
        ),
        Verdict.EXPIRED,
    ),
}


@pytest.mark.parametrize(("evidence", "expected"), CASES.values(), ids=CASES.keys())
def test_a_code_gets_the_verdict_of_what_it_is(evidence: Evidence, expected: Verdict) -> None:
    """One case for each state, and for the edges of dates and numbers."""
    assert verdict(evidence) is expected


def test_every_verdict_occurs_in_the_cases() -> None:
    """A verdict without a case would be untested or unreachable."""
    assert {expected for _, expected in CASES.values()} == set(Verdict)


@pytest.mark.parametrize(("one", "other"), list(itertools.permutations([s for s in State if s is not State.GOOD], 2)))
def test_of_two_decisions_the_graver_is_shown(one: State, other: State) -> None:
    """At any scopes, a revoked product is not shown as flagged."""
    both = item(
        timelines=((Scope.PRODUCT, timeline((one, -1))), (Scope.ENTERPRISE, timeline((other, -1)))),
        batch=batch(activated_at=NOW),
    )
    graver = max(one, other, key=lambda state: SEVERITY[state])
    decided = decide(both, now=NOW, today=TODAY)
    assert decided.standing is not None
    assert decided.standing.state is graver


def revoked_range(first: int, last: int) -> RangeLayer:
    """The layer of a city that revoked a range."""
    return RangeLayer("city", (Standing(State.REVOKED, 0),), (RangeEntry(first, last, 0, NOW - 1),))


def test_of_two_equal_decisions_the_narrower_is_shown() -> None:
    """The decision about the item is shown first, then the batch's, then the enterprise's."""
    reaching = batch(ranges=(revoked_range(0, 9),))
    scopes = [Scope.ENTERPRISE, Scope.PRODUCT, Scope.CODE]
    evidence = item(batch=reaching, timelines=tuple((scope, timeline((State.REVOKED, -1))) for scope in scopes))
    assert decide(evidence, now=NOW, today=TODAY).scope is Scope.CODE
    without = replace(evidence, timelines=evidence.timelines[:2])
    assert decide(without, now=NOW, today=TODAY).scope is Scope.RANGE


def test_a_range_reaches_its_items_and_no_other() -> None:
    """Both ends belong to it."""
    ranged = batch(ranges=(revoked_range(10, 20),))
    verdicts = {index: verdict(item(batch=ranged, index=index)) for index in (9, 10, 20, 21)}
    assert verdicts == {9: Verdict.VERIFIED, 10: Verdict.REVOKED, 20: Verdict.REVOKED, 21: Verdict.VERIFIED}


def test_nothing_but_a_sealed_or_online_confirmed_code_is_ever_green() -> None:
    """For all combinations of proof, confirmation, key and state: green needs all four."""
    for proof, confirmed, revoked, state in itertools.product(Proof, (True, False), (True, False), State):
        public_verdict = verdict(
            item(
                proof=proof,
                confirmed=confirmed,
                key_revoked=revoked,
                timelines=((Scope.PRODUCT, timeline((state, -1))),),
            )
        )
        green = proof in {Proof.SEALED, Proof.ONLINE} and confirmed and not revoked and state is State.GOOD
        assert (public_verdict is Verdict.VERIFIED) == green


def test_forged_unknown_and_malformed_share_one_public_name() -> None:
    """The public name tells a guesser nothing; only malformed codes get 400."""
    alike = [one for one in Verdict if one.public == "not_verified"]
    assert set(alike) == {Verdict.SEAL_INVALID, Verdict.UNKNOWN, Verdict.MALFORMED}
    assert {one: one.http_status for one in alike} == {
        Verdict.SEAL_INVALID: 404,
        Verdict.UNKNOWN: 404,
        Verdict.MALFORMED: 400,
    }
    assert all(one.http_status == 200 for one in Verdict if one not in alike)


def test_an_extra_certificates_end_does_not_end_the_recognition() -> None:
    """Only the certificate the recognition rests on is asked for its standing."""
    assert (Scope.CERTIFICATE, "C1") in PRODUCT.standing_keys()
    extra = msgspec.structs.replace(PRODUCT, recognition=msgspec.structs.replace(RECOGNITION, certificate=""))
    assert not [target for scope, target in extra.standing_keys() if scope is Scope.CERTIFICATE]
