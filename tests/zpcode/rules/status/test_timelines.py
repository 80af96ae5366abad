"""The state at each moment, for one target and for the ranges of a batch, compared with a simple model per item."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zpcode.errors import Conflict, Forbidden
from zpcode.rules.status.decisions import STATES, Action, Actor
from zpcode.rules.status.layers import layers
from zpcode.rules.status.ranges import in_force_within
from zpcode.rules.status.timelines import TimelineDecision, in_force, lifted_by, timeline
from zpcode.wire.card import Standing
from zpcode.wire.timelines import item_timeline
from zpcode.wire.vocabulary import SEVERITY, State

NOW = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)
ITEMS = 12


def decision(
    number: int,
    actor: Actor,
    action: Action,
    *,
    at: int = 0,
    lifts: Actor | None = None,
    bounds: tuple[int, int] | None = None,
    state: State | None = None,
) -> TimelineDecision:
    """A decision `at` seconds after NOW."""
    moment = NOW + timedelta(seconds=at)
    standing = Standing(state or STATES[action], int(moment.timestamp()), f"reason-{number}")
    first, last = bounds or (None, None)
    return TimelineDecision(number, actor, action, standing, moment, lifts, first, last)


def state_at(decided: TimelineDecision | None) -> State:
    """The state a decision gives, GOOD for none."""
    return State.GOOD if decided is None else decided.standing.state


def naive(decisions: list[TimelineDecision], item: int | None, at: datetime) -> State:
    """The state of one item by the rule: the latest decision of each actor, the gravest of them."""
    slots: dict[Actor, State] = {}
    for decision in sorted(decisions, key=lambda one: (one.effective_at, one.id)):
        if decision.effective_at > at:
            break
        if item is not None and not (decision.first or 0) <= item <= (decision.last or 0):
            continue
        if decision.lifts is not None:
            slots.pop(decision.lifts, None)
        else:
            slots[decision.actor] = decision.standing.state
    return max(slots.values(), key=SEVERITY.__getitem__, default=State.GOOD)


@st.composite
def decisions(draw: st.DrawFn) -> list[TimelineDecision]:
    """Up to a dozen decisions about ranges of a batch of twelve, past and future, with any overlap."""
    drawn = []
    for number in range(1, draw(st.integers(1, 13))):
        actor, action = draw(st.sampled_from(Actor)), draw(st.sampled_from(Action))
        first = draw(st.integers(0, ITEMS - 1))
        bounds = first, draw(st.integers(first, ITEMS - 1))
        lifts = draw(st.sampled_from(Actor)) if action is Action.RESTORE else None
        drawn.append(decision(number, actor, action, at=draw(st.integers(-5, 5)), lifts=lifts, bounds=bounds))
    return drawn


@settings(max_examples=400, deadline=None)
@given(decisions())
def test_overlapping_ranges_say_of_each_item_what_the_rule_says(made: list[TimelineDecision]) -> None:
    """At every moment from now on and for every item; the ranges of each actor are disjoint and in order."""
    card = layers(made, NOW)
    for layer in card:
        assert all(one.first <= one.last for one in layer.current)
        assert all(one.last < two.first for one, two in pairwise(layer.current))
    for item in range(ITEMS):
        merged = item_timeline(card, item)
        for seconds in range(7):
            at = NOW + timedelta(seconds=seconds)
            standing = merged.at(int(at.timestamp())) if merged else None
            assert (State.GOOD if standing is None else standing.state) == naive(made, item, at), (item, seconds)


@settings(max_examples=200, deadline=None)
@given(decisions())
def test_a_range_of_one_item_shows_what_a_decision_about_the_item_alone_shows(made: list[TimelineDecision]) -> None:
    """Reasons and times too: both ways lead to one rule."""
    alone = [replace(one, first=None, last=None) for one in made]
    ranged = item_timeline(layers([replace(one, first=5, last=5) for one in made], NOW), 5)
    for seconds in range(7):
        at = int(NOW.timestamp()) + seconds
        whole = timeline(alone, NOW).at(at)
        assert (ranged.at(at) if ranged else None) == whole


@settings(max_examples=200, deadline=None)
@given(decisions())
def test_a_timeline_says_at_every_moment_what_the_rule_says(made: list[TimelineDecision]) -> None:
    """The same rule for a whole target."""
    card_timeline = timeline(made, NOW)
    for seconds in range(7):
        at = NOW + timedelta(seconds=seconds)
        standing = card_timeline.at(int(at.timestamp()))
        assert (State.GOOD if standing is None else standing.state) == naive(made, None, at)


@settings(max_examples=200, deadline=None)
@given(decisions(), st.integers(0, ITEMS - 1), st.integers(0, ITEMS - 1))
def test_a_restoration_of_a_range_sees_all_decisions_about_its_items(
    made: list[TimelineDecision], one: int, two: int
) -> None:
    """Item by item, the actors with a decision in force."""
    first, last = min(one, two), max(one, two)
    expected = set()
    for item in range(first, last + 1):
        met = [each for each in made if (each.first or 0) <= item <= (each.last or 0)]
        expected |= {each.actor for each in in_force(met, NOW)}
    assert {each.actor for each in in_force_within(made, first, last, NOW)} == expected


def test_a_decision_within_another_cuts_it_and_equal_neighbours_are_one() -> None:
    """A restored middle part that is flagged again; neighbours with the same text and time share an entry."""

    def ends(made: list[TimelineDecision]) -> list[tuple[int, int]]:
        return [(one.first, one.last) for layer in layers(made, NOW) for one in layer.current]

    whole = decision(1, Actor.CITY, Action.SUSPEND, bounds=(0, 9))
    lifted = decision(2, Actor.CITY, Action.RESTORE, lifts=Actor.CITY, bounds=(4, 5))
    assert ends([whole, lifted]) == [(0, 3), (6, 9)]
    again = decision(3, Actor.CITY, Action.FLAG, bounds=(2, 7))
    assert ends([whole, lifted, again]) == [(0, 1), (2, 7), (8, 9)]
    nothing = decision(4, Actor.CITY, Action.RESTORE, lifts=Actor.CITY, bounds=(0, 9))
    assert layers([whole, lifted, again, nothing], NOW) == ()
    two = [replace(whole, id=number, first=5 * number, last=5 * number + 4) for number in (0, 1)]
    assert ends(two) == [(0, 9)]


def test_what_is_cancelled_before_its_time_needs_no_place() -> None:
    """A scheduled decision and its restoration at the same time are on no card; so are those of a range."""
    coming = decision(1, Actor.CITY, Action.REVOKE, at=60, bounds=(2, 4))
    cancelled = decision(2, Actor.CITY, Action.RESTORE, at=60, lifts=Actor.CITY, bounds=(0, 9))
    assert layers([coming, cancelled], NOW) == ()
    assert timeline([coming, cancelled], NOW).standings == ()
    part = replace(cancelled, first=3, last=3)
    assert [len(layer.coming) for layer in layers([coming, part], NOW)] == [2]


def test_a_lower_levels_flag_never_hides_a_higher_levels_revocation() -> None:
    """A milder decision of one actor never hides a graver one of another."""
    revoked = decision(1, Actor.PROVINCE, Action.REVOKE)
    for actor in (Actor.ENTERPRISE, Actor.COUNTY, Actor.CITY):
        card_timeline = timeline([revoked, decision(2, actor, Action.FLAG)], NOW)
        assert [one.state for one in card_timeline.standings] == [State.REVOKED]
    recalled = decision(1, Actor.ENTERPRISE, Action.RECALL)
    assert timeline([recalled, decision(2, Actor.CITY, Action.FLAG)], NOW).standings[0].state is State.RECALLED


def test_ones_own_latest_word_counts() -> None:
    """The same level may ease what it decided."""
    card_timeline = timeline([decision(1, Actor.CITY, Action.SUSPEND), decision(2, Actor.CITY, Action.FLAG)], NOW)
    assert [one.state for one in card_timeline.standings] == [State.FLAGGED]


def test_a_timeline_keeps_what_is_in_effect_and_what_is_to_come_and_no_more() -> None:
    """Ten past decisions give one standing, each future decision another."""
    past = [decision(number, Actor.CITY, Action.FLAG, at=-number) for number in range(1, 11)]
    coming = [
        decision(20, Actor.CITY, Action.REVOKE, at=60),
        decision(21, Actor.CITY, Action.RESTORE, at=120, lifts=Actor.CITY),
    ]
    card_timeline = timeline([*past, *coming], NOW)
    assert [one.state for one in card_timeline.standings] == [State.FLAGGED, State.REVOKED, State.GOOD]
    assert card_timeline.standings[0].reason == "reason-1"
    assert card_timeline.standings[1].effective_at == int(NOW.timestamp()) + 60


def test_a_decision_that_resurfaces_keeps_its_own_words() -> None:
    """The county's flag shows again once the province lifts its own suspension."""
    made = [
        decision(1, Actor.COUNTY, Action.FLAG, at=-10),
        decision(2, Actor.PROVINCE, Action.SUSPEND, at=-5),
        decision(3, Actor.PROVINCE, Action.RESTORE, at=5, lifts=Actor.PROVINCE),
    ]
    card_timeline = timeline(made, NOW)
    assert [(one.state, one.reason) for one in card_timeline.standings] == [
        (State.SUSPENDED, "reason-2"),
        (State.FLAGGED, "reason-1"),
    ]


def test_restoring_lifts_ones_own_decision_first_then_the_highest_below() -> None:
    """A city that ends its suspension does not remove the maker's report of stolen labels."""
    stolen = decision(1, Actor.ENTERPRISE, Action.REVOKE)
    county = decision(2, Actor.COUNTY, Action.FLAG)
    city = decision(3, Actor.CITY, Action.SUSPEND)
    assert lifted_by(Actor.CITY, [stolen, county, city]) is Actor.CITY
    assert lifted_by(Actor.CITY, [stolen, county]) is Actor.COUNTY
    assert lifted_by(Actor.CITY, [stolen]) is Actor.ENTERPRISE
    after = [stolen, county, city, decision(4, Actor.CITY, Action.RESTORE, lifts=Actor.CITY)]
    assert timeline(after, NOW).standings[0].state is State.REVOKED


def test_restoring_what_a_higher_level_decided_is_forbidden_and_nothing_is_a_conflict() -> None:
    """The two errors are different."""
    with pytest.raises(Forbidden) as caught:
        lifted_by(Actor.ENTERPRISE, [decision(1, Actor.COUNTY, Action.FLAG)])
    assert caught.value.reasons == ("higher-level",)
    with pytest.raises(Conflict):
        lifted_by(Actor.PROVINCE, [])


def test_what_holds_when_a_card_is_written_holds_for_a_reader_whose_clock_is_behind() -> None:
    """For a reader 90 s behind, a revocation shows at once, a future one at its time on that clock."""
    behind = int(NOW.timestamp()) - 90
    made = [decision(1, Actor.CITY, Action.SUSPEND), decision(2, Actor.CITY, Action.REVOKE, at=30)]
    ranged = item_timeline(layers([replace(one, first=0, last=9) for one in made], NOW), 9)
    for card_timeline in (timeline(made, NOW), ranged):
        assert card_timeline is not None
        assert [
            state and state.state
            for state in (card_timeline.at(behind), card_timeline.at(behind + 119), card_timeline.at(behind + 120))
        ] == [
            State.SUSPENDED,
            State.SUSPENDED,
            State.REVOKED,
        ]
    resurfaced = timeline([*made, decision(3, Actor.CITY, Action.RESTORE, at=60, lifts=Actor.CITY)], NOW)
    assert resurfaced.at(behind + 150) is None


def test_a_decision_to_come_has_not_begun() -> None:
    """Nor has one with the same text that is repeated later."""
    card_timeline = timeline([decision(1, Actor.CITY, Action.REVOKE, at=30)], NOW)
    assert [one.begun for one in card_timeline.standings] == [False]
    assert card_timeline.at(int(NOW.timestamp())) is None
