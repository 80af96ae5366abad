"""`zpcode fsck` of an undamaged service, and of one with a part that does not answer."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.fsck_setting import CheckedService
from zpcode.errors import KeyringError, Refused, Text
from zpcode.projection.client import connect
from zpcode.services.fsck import run
from zpcode.services.fsck.report import InvariantState


def test_of_a_service_that_was_left_alone_everything_holds(world: CheckedService) -> None:
    """Every check has checked something, deep or not, and has no finding."""
    for deep in (False, True):
        report = world.check(deep=deep)
        broken = [
            (outcome.invariant.name, outcome.obstacle, outcome.findings)
            for outcome in report.outcomes
            if outcome.state is not InvariantState.HOLDS
        ]
        assert broken == []
        assert report.whole
    examined_by_check = {outcome.invariant.name: outcome.examined for outcome in report.outcomes}
    assert set(examined_by_check) == set(run.NAMES)
    assert {name for name, examined in examined_by_check.items() if not examined} == {
        "stream",
        "kept-signatures",
        "recovery-records",
    }
    assert examined_by_check["code-contents"] == 100 + 100 + 1 + 1


def test_without_redis_the_rest_is_checked(world: CheckedService) -> None:
    """The checks that need Redis are unknown; all other checks run."""
    report = world.check(redis=connect("redis://127.0.0.1:1"))
    unknown = {outcome.invariant.name for outcome in report.outcomes if outcome.state is InvariantState.UNKNOWN}
    assert unknown == {"projection-head", "projection", "stream", "histories"}
    assert {outcome.state for outcome in report.outcomes if outcome.invariant.name not in unknown} == {
        InvariantState.HOLDS
    }
    assert not report.whole


def test_without_a_keyring_it_says_so(world: CheckedService) -> None:
    """The seals cannot be verified then."""

    def none() -> Any:
        raise KeyringError(Text("没有", "there is none"))

    assert world.of("code-contents", keyring=none).state is InvariantState.UNKNOWN


def test_a_check_that_there_is_not_is_refused(world: CheckedService) -> None:
    """With the names of those there are."""
    with pytest.raises(Refused, match="projection-head"):
        run.check(world.context, only=["everything"])
