"""Permissions of decisions: the whole table by actor, action, scope and reason; and the checks of a request."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from zpcode.errors import Forbidden, Refused
from zpcode.rules.access import Caller, Role
from zpcode.rules.status.decisions import ACTIONS, ACTORS, SCOPES, Action, Actor
from zpcode.rules.status.permissions import (
    StatusRequest,
    actor_of,
    authority_of,
    barred_until,
    check,
    decides_ownerless,
    effective,
    may,
    may_lift,
    permit,
)
from zpcode.rules.status.reasons import REASONS, RECOVERED
from zpcode.wire.vocabulary import Bilingual, Scope, State

NOW = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)

# f flag, s suspend, c recall, r revoke, x restore; what is not here is denied.
EXPECTED = {
    Actor.ENTERPRISE: {"code": "fscrx", "range": "fscrx", "lot": "fscrx", "batch": "fscrx"},
    Actor.COUNTY: {"code": "fscx", "range": "fscx", "lot": "fscx", "batch": "fscx", "product": "fscx"},
    Actor.CITY: {
        "code": "fscrx",
        "range": "fscrx",
        "lot": "fscrx",
        "batch": "fscrx",
        "product": "fscx",
        "recognition": "fsx",
        "enterprise": "fsx",
    },
    Actor.PROVINCE: {
        "code": "fscrx",
        "range": "fscrx",
        "lot": "fscrx",
        "batch": "fscrx",
        "product": "fscrx",
        "recognition": "fsrx",
        "certificate": "fsrx",
        "standard": "fsrx",
        "enterprise": "fsrx",
        "key": "srx",
    },
}
EXPECTED[Actor.OPERATOR] = EXPECTED[Actor.PROVINCE]
EXPECTED[Actor.RECOVERY] = {}
LETTERS = dict(zip("fscrx", Action, strict=True))


def request(**changes: object) -> StatusRequest:
    """A valid request by a city office, with these changes."""
    right = StatusRequest(
        Scope.BATCH, "7", Action.SUSPEND, "sample-test-failed", legal_basis="《产品质量法》第四十九条"
    )
    return replace(right, **changes)  # type: ignore[arg-type]


def refusals(asked: StatusRequest, actor: Actor = Actor.CITY) -> tuple[str, ...]:
    """The reasons for which a request is refused."""
    with pytest.raises(Refused) as caught:
        check(asked, actor, NOW)
    return caught.value.reasons


@pytest.mark.parametrize("actor", Actor)
@pytest.mark.parametrize("scope", Scope)
@pytest.mark.parametrize("action", Action)
def test_only_what_the_table_names_is_allowed(actor: Actor, scope: Scope, action: Action) -> None:
    """Every actor, scope and action against the table written out by hand."""
    allowed = {LETTERS[letter] for letter in EXPECTED[actor].get(scope.value, "")}
    assert may(actor, scope, action) is (action in allowed)


@pytest.mark.parametrize("actor", Actor)
@pytest.mark.parametrize("scope", Scope)
@pytest.mark.parametrize("action", Action)
def test_what_is_allowed_has_a_reason_and_what_is_not_has_no_way_in(actor: Actor, scope: Scope, action: Action) -> None:
    """Each allowed cell has a valid reason; in a denied cell every reason is Forbidden."""
    asked = StatusRequest(scope, "x", action, "", first=0, last=0, legal_basis="依据")
    if scope is not Scope.RANGE:
        asked = replace(asked, first=None, last=None)
    passed = 0
    for slug in REASONS:
        try:
            permit(replace(asked, reason=slug), actor)
            check(replace(asked, reason=slug), actor, NOW)
        except Forbidden:
            continue
        except Refused:
            pass
        else:
            passed += 1
        assert may(actor, scope, action)
    assert bool(passed) is may(actor, scope, action)


def test_every_reason_can_be_given_by_everyone_and_for_everything_it_names() -> None:
    """A reason lists no actor, action or scope that the table never allows. That of a recovery can be given by nobody."""
    assert not REASONS[RECOVERED].actors
    for reason in (one for one in REASONS.values() if one.slug != RECOVERED):
        for actor in reason.actors:
            assert any(may(actor, scope, action) for scope in reason.scopes for action in reason.actions), (
                reason.slug,
                actor,
            )
        for action in reason.actions:
            assert any(may(actor, scope, action) for actor in reason.actors for scope in reason.scopes), (
                reason.slug,
                action,
            )
        for scope in reason.scopes:
            assert any(may(actor, scope, action) for actor in reason.actors for action in reason.actions), (
                reason.slug,
                scope,
            )


def test_every_name_is_there_in_both_languages() -> None:
    """Actions, actors, scopes and reasons."""
    assert set(ACTIONS) == set(Action)
    assert set(ACTORS) == set(Actor)
    assert set(SCOPES) == set(Scope)
    texts = [*ACTIONS.values(), *ACTORS.values(), *SCOPES.values(), *(reason.text for reason in REASONS.values())]
    for text in texts:
        assert text.zh
        assert text.en.isascii()


@pytest.mark.parametrize(
    ("slug", "state"),
    [
        ("standard-abolished", State.ENDED),
        ("recognition-ended-early", State.ENDED),
        ("certificate-expired", State.ENDED),
        ("enterprise-closed", State.ENDED),
        ("recognition-cancelled", State.REVOKED),
        ("poor-performance", State.REVOKED),
        ("certificate-withdrawn", State.REVOKED),
        ("key-compromised", State.REVOKED),
        ("scrapped", State.REVOKED),
    ],
)
def test_an_ordinary_end_is_distinguished_from_a_sanction(slug: str, state: State) -> None:
    """After an ordinary end the old-stock policy applies; after a sanction the code is revoked."""
    assert REASONS[slug].state(Action.REVOKE) is state


def test_only_revoking_for_an_ordinary_end_ends() -> None:
    """Flagging an amended standard flags; it does not end anything."""
    assert REASONS["standard-amended"].state(Action.FLAG) is State.FLAGGED
    assert REASONS["standard-amended"].state(Action.REVOKE) is State.ENDED


@pytest.mark.parametrize(
    ("subject", "actor"),
    [("330000", Actor.PROVINCE), ("330100", Actor.CITY), ("330106", Actor.COUNTY), ("331100", Actor.CITY)],
)
def test_a_regulators_level_follows_from_its_region(subject: str, actor: Actor) -> None:
    """GB/T 2260: trailing zeros."""
    assert actor_of(Caller(Role.REGULATOR, subject, "k")) is actor


def test_standards_and_keys_are_out_of_reach_of_another_province() -> None:
    """They belong to no enterprise, so no region decides: this province's office does."""
    assert decides_ownerless(Caller(Role.REGULATOR, "330000", "k"))
    assert decides_ownerless(Caller(Role.OPERATOR, "*", "k"))
    assert not decides_ownerless(Caller(Role.REGULATOR, "310000", "k"))
    assert not decides_ownerless(Caller(Role.REGULATOR, "330100", "k"))
    assert not decides_ownerless(Caller(Role.ENTERPRISE, "330000", "k"))


def test_nobody_lifts_what_a_higher_level_decided() -> None:
    """Enterprise, county, city, province in rising order; the operator has the rank of the province."""
    ladder = [Actor.ENTERPRISE, Actor.COUNTY, Actor.CITY, Actor.PROVINCE]
    for low, lower in enumerate(ladder):
        for high, higher in enumerate(ladder):
            assert may_lift(lower, higher) is (high <= low)
    assert may_lift(Actor.PROVINCE, Actor.OPERATOR)
    assert may_lift(Actor.OPERATOR, Actor.PROVINCE)
    assert not may_lift(Actor.CITY, Actor.OPERATOR)


def test_a_regulator_names_its_legal_basis_and_an_enterprise_need_not() -> None:
    """For the reasons that need a legal basis; blanks do not count."""
    assert refusals(request(legal_basis="  ")) == ("legal-basis",)
    check(request(reason="safety-recall", action=Action.RECALL, legal_basis=""), Actor.ENTERPRISE, NOW)


def test_everything_wrong_is_reported_in_one_run() -> None:
    """Each finding names the field."""
    asked = request(
        reason="scrapped",
        action=Action.FLAG,
        scope=Scope.PRODUCT,
        first=1,
        target=" ",
        note=Bilingual("", "only English"),
        notice="n" * 101,
        effective_at=NOW + timedelta(days=400),
    )
    assert refusals(asked) == ("reason-action", "reason-scope", "too-long", "target", "note", "time-far", "range")
    assert refusals(request(reason="because")) == ("reason-unknown",)


@pytest.mark.parametrize("character", ["\x00", "\n", "\x1b", "\u202e", "\u2028", "\ud800", "\u200b"])
@pytest.mark.parametrize("field", ["target", "legal_basis", "notice"])
def test_control_characters_are_refused_wherever_they_stand(field: str, character: str) -> None:
    """They would reorder, hide or break what people and logs show."""
    assert "characters" in refusals(request(**{field: f"a{character}b"}))
    assert "characters" in refusals(request(note=Bilingual(f"a{character}")))


@pytest.mark.parametrize("field", ["legal_basis", "notice", "target"])
def test_texts_are_bounded(field: str) -> None:
    """One character too many is one finding."""
    most = {"legal_basis": 500, "notice": 100, "target": 512}[field]
    check(request(**{field: "字" * most}), Actor.CITY, NOW)
    assert refusals(request(**{field: "字" * (most + 1)})) == ("too-long",)


def test_a_range_has_two_ends_and_nothing_else_has_any() -> None:
    """Both or neither, by scope."""
    assert refusals(request(scope=Scope.RANGE)) == ("range",)
    assert refusals(request(scope=Scope.RANGE, first=1)) == ("range",)
    assert refusals(request(scope=Scope.RANGE, last=1)) == ("range",)
    assert refusals(request(last=1)) == ("range",)
    check(request(scope=Scope.RANGE, first=0, last=0), Actor.CITY, NOW)


def test_nothing_takes_effect_before_it_is_decided() -> None:
    """A time up to five minutes ago counts as now; the latest time is in a year."""
    assert refusals(request(effective_at=NOW - timedelta(minutes=6))) == ("time-past",)
    assert refusals(request(effective_at=datetime(2026, 11, 22))) == ("time-zone",)  # noqa: DTZ001 - that is the point
    late = request(effective_at=NOW - timedelta(minutes=4))
    check(late, Actor.CITY, NOW)
    assert effective(late, NOW) == NOW
    assert effective(request(), NOW) == NOW
    shanghai = datetime(2026, 12, 1, 8, 0, tzinfo=timezone(timedelta(hours=8)))
    assert effective(request(effective_at=shanghai), NOW) == datetime(2026, 12, 1, tzinfo=UTC)
    assert effective(request(effective_at=shanghai), NOW).tzinfo is UTC


@pytest.mark.parametrize(
    ("withdrawn", "again"),
    [
        (date(2026, 11, 21), date(2029, 11, 21)),
        (date(2028, 2, 29), date(2031, 3, 1)),
        (date(2026, 2, 28), date(2029, 2, 28)),
    ],
)
def test_the_bar_lasts_three_years(withdrawn: date, again: date) -> None:
    """Annex 2, part 3, item 2; the leap day rounds up."""
    assert barred_until(withdrawn) == again


def test_the_consumer_reads_who_decided() -> None:
    """An office by its place, an enterprise by its name."""
    name = Bilingual("西湖茶厂", "West Lake Tea")
    assert authority_of(Caller(Role.REGULATOR, "330000", "k"), name).zh == "浙江省市场监督管理局"
    assert authority_of(Caller(Role.REGULATOR, "330100", "k"), name).zh == "杭州市市场监督管理局"
    assert (
        authority_of(Caller(Role.REGULATOR, "330106", "k"), name).en
        == "Xihu District Administration for Market Regulation"
    )
    assert authority_of(Caller(Role.ENTERPRISE, "x", "k"), name) == name
