"""Clocks that differ by 90 s: between scan processes, and between processes of the authority.

A decision for now shows at once on each of them; a decision for later is early or late by the difference at most;
no count stays wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from redis import Redis
from sqlalchemy import Engine

from keys.ceremony import KeyRoom
from tests.faults import shifted_clock
from tests.faults.scan_processes import SHIFTED, ScanProcess, environment, scan_process
from tests.support.registry_data import gtin
from tests.support.scan_factories import ScanAuthority
from tests.support.scanned_batches import may_be_scanned
from tests.support.status_setting import (
    CITY,
    COUNTY,
    PROVINCE,
    EnterpriseBatches,
    ask,
    in_database,
    item_verdict,
    printed,
    settle,
)
from zpcode.embedded.servers import ServerAddresses
from zpcode.errors import Conflict
from zpcode.projection import projector
from zpcode.rules.status.decisions import Action
from zpcode.rules.status.permissions import StatusRequest
from zpcode.services import scans
from zpcode.services.status.change import change, change_and_project
from zpcode.wire.link import path_of
from zpcode.wire.verdict import Verdict
from zpcode.wire.vocabulary import Scope

pytestmark = pytest.mark.proof

APART = 90
Start = Callable[[float], AbstractContextManager[ScanProcess]]


@pytest.fixture
def start(addresses: ServerAddresses, scan_keys: tuple[KeyRoom, str], tmp_path: Path) -> Start:
    """Starts a scan process whose clock is wrong by some seconds."""

    def process(wrong_by: float) -> AbstractContextManager[ScanProcess]:
        settings = environment(addresses, scan_keys[0], **{shifted_clock.VARIABLE: str(wrong_by)})
        return scan_process(settings, tmp_path / f"scan{wrong_by:+.0f}.log", app=SHIFTED)

    return process


@pytest.fixture
def behind(start: Start) -> Iterator[ScanProcess]:
    """A process whose clock is 90 s slow."""
    with start(-APART) as scan:
        yield scan


@pytest.fixture
def ahead(start: Start) -> Iterator[ScanProcess]:
    """A process whose clock is 90 s fast."""
    with start(APART) as scan:
        yield scan


@pytest.fixture
def world(engine: Engine, redis: Redis) -> EnterpriseBatches:
    """An enterprise with its batches, in Redis."""
    settled = settle(engine, datetime.now(UTC))
    projector.catch_up(engine, redis)
    return settled


def test_a_decision_for_now_shows_at_once_on_every_clock(
    engine: Engine, redis: Redis, world: EnterpriseBatches, behind: ScanProcess, ahead: ScanProcess
) -> None:
    """Decisions about an item, a range, a batch and a product: made, eased, and lifted again."""
    code = path_of(printed(engine, world.compact, 3))
    places: tuple[tuple[Scope, object, dict[str, int]], ...] = (
        (Scope.CODE, f"{world.compact}:3", {}),
        (Scope.RANGE, world.compact, {"first": 0, "last": 9}),
        (Scope.BATCH, world.compact, {}),
        (Scope.PRODUCT, gtin(), {}),
    )
    steps = (
        (Action.REVOKE, "standard-not-met", "revoked"),
        (Action.SUSPEND, "standard-not-met", "suspended"),
        (Action.RESTORE, "rectified", "verified"),
    )
    for scope, target, bounds in places:
        for action, reason, verdict in steps:
            asked = ask(scope, target, action, reason, **bounds)
            assert change_and_project(engine, redis, asked, caller=PROVINCE, now=datetime.now(UTC)).projected
            assert [one.verdict(code) for one in (behind, ahead)] == [verdict, verdict], (scope, action)


def test_what_is_decided_for_later_is_early_or_late_by_the_difference_and_no_more(
    engine: Engine, redis: Redis, world: EnterpriseBatches, behind: ScanProcess, ahead: ScanProcess
) -> None:
    code = path_of(printed(engine, world.compact, 3))

    def revoke(target: str, seconds: int) -> None:
        now = datetime.now(UTC)
        asked = replace(
            ask(Scope.BATCH, target, Action.REVOKE, "standard-not-met"), effective_at=now + timedelta(seconds=seconds)
        )
        assert change_and_project(engine, redis, asked, caller=CITY, now=now).projected

    revoke(str(world.compact), 3600)
    assert [one.verdict(code) for one in (behind, ahead)] == ["verified", "verified"]
    revoke(str(world.compact), APART // 2)
    assert [one.verdict(code) for one in (behind, ahead)] == ["verified", "revoked"]
    flag = ask(Scope.BATCH, world.compact, Action.FLAG, "complaint-under-investigation")
    assert change_and_project(
        engine, redis, flag, caller=COUNTY, now=datetime.now(UTC) + timedelta(seconds=APART)
    ).projected
    assert [one.verdict(code) for one in (behind, ahead)] == ["revoked", "revoked"], "by then it had begun"


def test_a_visitor_who_meets_both_clocks_counts_once(
    registry: ScanAuthority, behind: ScanProcess, ahead: ScanProcess
) -> None:
    """The page reloaded through the other process shows the same count, whichever process counted first."""
    for index, order in enumerate(((ahead, behind, ahead), (behind, ahead, behind))):
        pages = [one.get(registry.item(index), visitor="60.191.0.7", accept="application/json") for one in order]
        assert [page.json()["history"]["scans"] for page in pages] == [1, 1, 1]


def test_midnight_between_two_processes_divides_no_counting_and_no_drain(
    engine: Engine, redis: Redis, registry: ScanAuthority, start: Start
) -> None:
    """One process has today's salt, the other tomorrow's: for 90 s one visitor counts as two; nothing else changes."""
    may_be_scanned(engine, [7])
    now = datetime.now(UTC)
    midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    seconds = (midnight - now).total_seconds()
    with start(seconds - APART / 2) as evening, start(seconds + APART / 2) as morning:
        assert [
            one.verdict(registry.item(5), visitor="60.191.0.7") for one in (evening, morning, evening, morning)
        ] == ["verified"] * 4
        history = evening.get(registry.item(5), visitor="60.191.0.7", accept="application/json").json()["history"]
        evening_day = (midnight - timedelta(days=1)).date().isoformat()
        assert (history["scans"], history["first_at"][:10]) == (1, evening_day), "its own view again"
        assert (
            morning.get(registry.item(5), visitor="60.192.0.8", accept="application/json").json()["history"]["scans"]
            == 3
        )
        for one in (evening, morning):
            one.process.terminate()
            one.process.wait(30)
    scans.drain(engine, redis, consumer="test")
    assert registry.histories() == [(7, 5, 3)]


def test_a_decision_made_by_a_slower_clock_comes_after_the_one_it_follows(engine: Engine, now: datetime) -> None:
    """Two processes of the authority: the last decision holds, and it can be lifted at once."""
    world, fetch = settle(engine, now), in_database(engine)
    target, fast = f"{world.item}:5", now + timedelta(seconds=APART)

    def decide(action: Action, reason: str, at: datetime, **more: str) -> StatusRequest:
        asked = ask(Scope.CODE, target, action, reason, **more)
        change(engine, asked, caller=CITY, now=at)
        return asked

    decide(Action.SUSPEND, "sample-test-failed", fast)
    decide(Action.REVOKE, "sample-test-failed", now)
    for at in (now, fast, fast + timedelta(days=1)):
        assert item_verdict(fetch, world.item, 5, at).verdict is Verdict.REVOKED
    lifted = decide(Action.RESTORE, "rectified", now)
    assert item_verdict(fetch, world.item, 5, now).verdict is Verdict.VERIFIED
    with pytest.raises(Conflict):
        change(engine, replace(lifted, reason="entered-in-error"), caller=CITY, now=fast)
