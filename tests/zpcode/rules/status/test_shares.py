"""Each kind of actor has its own share of a target: what one decides never keeps another from deciding."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.zpcode.rules.status.test_timelines import NOW, decision
from zpcode.errors import Conflict
from zpcode.rules.status.decisions import Action, Actor
from zpcode.rules.status.layers import layers
from zpcode.rules.status.permissions import MAX_NOTICE, MAX_TEXT
from zpcode.rules.status.ranges import by_actor
from zpcode.rules.status.shares import MAX_BYTES, MAX_DECISIONS, MAX_PENDING, MAX_RANGES, check, in_use
from zpcode.rules.status.timelines import TimelineDecision
from zpcode.wire.vocabulary import Bilingual

LONG = Bilingual("长" * MAX_TEXT, "long " * (MAX_TEXT // 5))
LOWER = (Actor.ENTERPRISE, Actor.COUNTY, Actor.CITY)
HIGHER = (Actor.PROVINCE, Actor.OPERATOR)


def with_note(one: TimelineDecision, note: Bilingual) -> TimelineDecision:
    """The decision with a public note and the longest notice number."""
    standing = msgspec.structs.replace(one.standing, note=note, notice="号" * MAX_NOTICE)
    return replace(one, standing=standing)


def same_text(one: TimelineDecision) -> TimelineDecision:
    """The decision with the same reason as every other one."""
    return replace(one, standing=msgspec.structs.replace(one.standing, reason="labels-stolen"))


def refused(made: list[TimelineDecision], actor: Actor) -> str:
    """The reason for which the last decision is refused; empty if it is not."""
    try:
        check(made, actor, NOW)
    except Conflict as conflict:
        return conflict.findings[0].reason
    return ""


@st.composite
def lower_decisions(draw: st.DrawFn) -> list[TimelineDecision]:
    """Many decisions of the lower levels, as they come: with long notes or none, in effect and to come, of any size."""
    made: list[TimelineDecision] = []
    seed = draw(st.randoms(use_true_random=False))
    for number in range(1, draw(st.integers(1, 400))):
        actor, action = seed.choice(LOWER), seed.choice(tuple(Action))
        first = seed.randrange(1000)
        bounds = first, first + seed.randrange(draw(st.just(40)))
        lifts = seed.choice(LOWER[: LOWER.index(actor) + 1]) if action is Action.RESTORE else None
        one = decision(number, actor, action, at=seed.choice((-9, -1, 0, 60, 600)), lifts=lifts, bounds=bounds)
        made.append(with_note(one, Bilingual(f"{number}" + LONG.zh[:490], LONG.en)) if seed.random() < 0.5 else one)
    return made


@settings(max_examples=60, deadline=None)
@given(lower_decisions(), st.sampled_from(HIGHER), st.sampled_from(Action), st.sampled_from((0, 3600)))
def test_whatever_lower_levels_decide_the_provinces_next_decision_is_accepted(
    made: list[TimelineDecision], actor: Actor, action: Action, at: int
) -> None:
    """Also if nobody had refused the lower levels anything; a note of full length, now or to come."""
    lifts = Actor.CITY if action is Action.RESTORE else None
    new = with_note(decision(10_000, actor, action, at=at, lifts=lifts, bounds=(100, 900)), LONG)
    assert refused([*made, new], actor) == ""


@settings(max_examples=60, deadline=None)
@given(lower_decisions())
def test_what_is_on_the_card_is_never_more_than_the_shares_say(made: list[TimelineDecision]) -> None:
    """So five full shares are the largest card there is."""
    used = in_use(by_actor(made, NOW))
    card = layers(made, NOW)
    overhead = 8 + 64 * len(card)
    assert len(msgspec.msgpack.encode(card)) <= sum(one.size for one in used.values()) + overhead
    for layer in card:
        assert len(layer.current) <= 2 * sum(one.decisions for one in used.values())


@pytest.mark.parametrize("actor", Actor)
def test_each_actor_may_use_up_its_own_ranges_and_nobody_elses(actor: Actor) -> None:
    """The 501st is refused, with who used the share and what to do; every other actor still decides."""
    numbers = range(1, MAX_RANGES + 1)
    made = [same_text(decision(number, actor, Action.FLAG, bounds=(2 * number, 2 * number))) for number in numbers]
    check(made, actor, NOW)
    one_more = decision(9999, actor, Action.FLAG, bounds=(5000, 5001))
    with pytest.raises(Conflict, match="about wider ranges") as caught:
        check([*made, one_more], actor, NOW)
    assert caught.value.findings[0].reason == "too-many-ranges"
    for other in set(Actor) - {actor}:
        assert refused([*made, replace(one_more, actor=other)], other) == ""


@pytest.mark.parametrize("actor", Actor)
def test_long_notes_use_up_the_share_of_their_actor_alone(actor: Actor) -> None:
    """64 long range decisions of an enterprise once made a card too large for the province."""
    made: list[TimelineDecision] = []
    for number in range(1, 200):
        one = decision(number, actor, Action.FLAG, bounds=(2 * number, 2 * number))
        made.append(with_note(one, Bilingual(f"{number:03}{LONG.zh[3:]}", LONG.en)))
        if refused(made, actor):
            break
    assert refused(made, actor) == "card-too-large"
    assert len(made) > MAX_BYTES[actor] // 4096
    for other in set(Actor) - {actor}:
        new = with_note(decision(9999, other, Action.REVOKE, bounds=(0, 900)), LONG)
        assert refused([*made, new], other) == ""


def test_one_note_for_many_ranges_is_on_the_card_once() -> None:
    """An enterprise that reports 400 stolen ranges with one long note needs the place of one."""
    made = [
        same_text(with_note(decision(number, Actor.ENTERPRISE, Action.REVOKE, bounds=(2 * number, 2 * number)), LONG))
        for number in range(1, 401)
    ]
    check(made, Actor.ENTERPRISE, NOW)
    assert len(msgspec.msgpack.encode(layers(made, NOW))) < 16 * 1024


@pytest.mark.parametrize("actor", Actor)
def test_each_actor_may_schedule_so_much_and_does_not_use_up_anothers(actor: Actor) -> None:
    """Decisions in effect do not count; one that is cancelled counts no more."""
    past = [decision(number, actor, Action.FLAG, at=-1) for number in range(1, 100)]
    coming = [decision(100 + number, actor, Action.FLAG, at=60 * number) for number in range(1, MAX_PENDING + 1)]
    check([*past, *coming], actor, NOW)
    one_more = decision(200, actor, Action.FLAG, at=7)
    assert refused([*past, *coming, one_more], actor) == "too-many-pending"
    cancelled = decision(150, actor, Action.RESTORE, at=60, lifts=actor)
    assert refused([*past, *coming[1:], coming[0], cancelled], actor) == ""
    for other in set(Actor) - {actor}:
        assert refused([*past, *coming, replace(one_more, actor=other)], other) == ""


def test_what_can_no_longer_be_in_effect_uses_no_place() -> None:
    """A thousand decisions about the same range, each replacing the one before, need the place of the last."""
    made = [decision(number, Actor.CITY, Action.FLAG, at=number - 5000, bounds=(0, 9)) for number in range(1, 1001)]
    used = in_use(by_actor(made, NOW))[Actor.CITY]
    assert used.decisions == 1
    lifted = decision(2000, Actor.CITY, Action.RESTORE, lifts=Actor.CITY, bounds=(0, 9))
    assert in_use(by_actor([*made, lifted], NOW))[Actor.CITY].decisions == 0


def test_a_restoration_that_cuts_a_range_in_two_uses_the_share_of_its_own_actor() -> None:
    """The province restores single items of an enterprise's range: the enterprise's share stays as it was."""
    whole = decision(1, Actor.ENTERPRISE, Action.SUSPEND, bounds=(0, 999))
    cuts = [
        decision(number, Actor.PROVINCE, Action.RESTORE, lifts=Actor.ENTERPRISE, bounds=(10 * number, 10 * number))
        for number in range(2, 52)
    ]
    used = in_use(by_actor([whole, *cuts], NOW))
    assert (used[Actor.ENTERPRISE].decisions, used[Actor.PROVINCE].decisions) == (1, 50)


def test_decisions_about_one_target_have_an_end() -> None:
    """Each later decision reads them all: so an actor makes at most 5000, and another makes its own."""
    made = [decision(number, Actor.ENTERPRISE, Action.FLAG, at=number - 9000) for number in range(1, MAX_DECISIONS + 1)]
    check(made, Actor.ENTERPRISE, NOW)
    later = NOW + timedelta(days=1)
    one_more = decision(9999, Actor.ENTERPRISE, Action.FLAG)
    with pytest.raises(Conflict) as caught:
        check([*made, one_more], Actor.ENTERPRISE, later)
    assert caught.value.findings[0].reason == "too-many-decisions"
    check([*made, replace(one_more, actor=Actor.COUNTY)], Actor.COUNTY, later)
