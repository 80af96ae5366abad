"""A batch's card: part by part changes give the same card as one derivation from all rows."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zpcode.rules import cards
from zpcode.rules.batches.batch import Activation, Batch, BatchState
from zpcode.rules.journey import JourneyEvent, Subject
from zpcode.rules.status.decisions import STATES, Action, Actor
from zpcode.rules.status.permissions import StatusChange
from zpcode.wire.payload import Level
from zpcode.wire.vocabulary import Bilingual, Scope, State

NOW = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)
RESERVED = Batch(
    number=7, uscc="U1", region="330110", gtin="09501101530003", level=Level.ITEM, quantity=100, lot="L-1",
    production_date=NOW.date(), expiry_date=None, format="csv", base="https://zpm.example",
    activation=Activation.MANUAL, created_by="maker", created_at=NOW, permutation_key=bytes(16), check_key=bytes(16),
)  # fmt: skip
ISSUED = replace(RESERVED, state=BatchState.ISSUED, key_id="ABCD", issued_at=NOW)
ACTIVE = replace(ISSUED, activated_at=NOW + timedelta(minutes=1))
TARGETS = {Scope.BATCH: "7", Scope.RANGE: "7", Scope.CODE: "7:3"}


def decided(number: int, scope: Scope, action: Action = Action.SUSPEND) -> StatusChange:
    """The decision with this number, in effect that many seconds after NOW."""
    at, bounds = NOW + timedelta(seconds=number), (number, number + 5) if scope is Scope.RANGE else (None, None)
    return StatusChange(
        id=number, scope=scope, target=TARGETS[scope], first=bounds[0], last=bounds[1], action=action,
        reason="sample-test-failed", state=STATES[action], lifts=Actor.CITY if action is Action.RESTORE else None,
        legal_basis="", note=Bilingual(), notice="", effective_at=at, actor=Actor.CITY, authority=Bilingual("局"),
        uscc="U1", created_at=at,
    )  # fmt: skip


def event(number: int) -> JourneyEvent:
    """An event of the batch."""
    nothing = Bilingual()
    return JourneyEvent(
        number, Subject(7), "U1", "shipped", NOW + timedelta(days=number), "day", nothing, nothing, nothing, "", None,
        "maker", NOW,
    )  # fmt: skip


@given(
    st.lists(st.tuples(st.sampled_from([*TARGETS, "event", "row"]), st.sampled_from([Action.SUSPEND, Action.RESTORE])))
)
def test_a_card_changed_part_by_part_is_the_card_derived_at_once(steps: list[tuple[Scope | str, Action]]) -> None:
    """Byte for byte, in any order of rows, decisions and events."""
    batch, card = RESERVED, cards.new_batch_card(RESERVED)
    made: list[StatusChange] = []
    events: list[JourneyEvent] = []
    for number, (step, action) in enumerate(steps, 1):
        if isinstance(step, Scope):
            made.append(decided(number, step, action))
            card = cards.with_decisions(card, step, [change for change in made if change.scope is step])
        elif step == "event":
            events.append(event(number))
            card = cards.with_events(card, events)
        else:
            batch = ISSUED if batch is RESERVED else ACTIVE
            card = cards.with_row(card, batch)
    items = any(change.scope is Scope.CODE for change in made)
    whole = cards.batch_card(batch, made, exceptions=items, events=events)
    assert msgspec.msgpack.encode(card) == msgspec.msgpack.encode(whole)


def test_a_reserved_batch_has_no_key_on_its_card() -> None:
    """The key of its file may still be replaced."""
    begun = replace(RESERVED, key_id="ABCD")
    assert cards.new_batch_card(begun).key_id == ""
    assert cards.with_row(None, ISSUED).key_id == "ABCD"


def test_a_target_that_was_restored_is_said_to_be_good() -> None:
    """Its card is kept: a reader that has the old card must learn that the decision is over."""
    timeline = cards.standing([decided(1, Scope.CODE), decided(2, Scope.CODE, Action.RESTORE)])
    assert [standing.state for standing in timeline.standings] == [State.GOOD]


def test_a_scope_outside_a_batch_is_no_part_of_its_card() -> None:
    """A decision about a product has a separate card."""
    with pytest.raises(ValueError, match="product"):
        cards.with_decisions(cards.new_batch_card(ISSUED), Scope.PRODUCT, [decided(1, Scope.BATCH)])
