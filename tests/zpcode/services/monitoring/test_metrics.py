"""The metrics of the processes match what happened, also while PostgreSQL, Redis or the signer does not answer."""
# A test's name is its sentence; a docstring stands where there is more to say.

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from redis import Redis
from sqlalchemy import Engine, text

from keys.client import SignerClient
from tests.support import scan_factories as make
from tests.support.exposed import Exposed
from tests.support.frozen import frozen
from tests.support.patience import eventually
from tests.support.scan_factories import GTIN, ScanAuthority, ScanService
from zpcode.embedded.servers import ServerAddresses, Servers
from zpcode.errors import SignerUnavailable, Text, Unavailable
from zpcode.projection import client
from zpcode.projection.comparison import ProjectionComparison
from zpcode.services import scans
from zpcode.services.monitoring import statistics
from zpcode.services.monitoring.statistics import InstallationStatistics
from zpcode.services.scans import ensure_partitions
from zpcode.telemetry import metrics
from zpcode.wire import redis_keys
from zpcode.wire.vocabulary import Scope, State

REVOKED = {make.s(Scope.PRODUCT, GTIN): make.standing(State.REVOKED)}


@pytest.fixture
def observed(addresses: ServerAddresses, registry: ScanAuthority) -> Iterator[ScanService]:
    """A scan process whose metrics are exposed."""
    with ScanService(make.settings(addresses, registry.room, metrics_address="0")) as running:
        yield running


def _scrape(service: ScanService) -> Exposed:
    return Exposed.at(service.app.exposition.port)


# The scan process -------------------------------------------------------------------------------------------


def test_answers_are_counted_by_verdict_and_timed(observed: ScanService, registry: ScanAuthority) -> None:
    before = _scrape(observed)
    for index in range(3):
        assert observed.verdict(registry.item(index)) == "verified"
    registry.put(REVOKED)
    assert observed.verdict(registry.item(0)) == "revoked"
    assert observed.get("/no/code").status_code == 400
    scraped = _scrape(observed)
    counted = {verdict: scraped.value("zpcode_scan_answers_total", verdict=verdict) for verdict in ("verified", "revoked", "malformed", "expired")}  # fmt: skip
    assert counted == {"verified": 3, "revoked": 1, "malformed": 1, "expired": 0}
    assert before.total("zpcode_scan_answers_total") == 0
    assert scraped.value("zpcode_scan_answer_seconds_count") == 5
    assert scraped.value("zpcode_scan_answer_seconds_bucket", le="+Inf") == 5
    assert scraped.value("zpcode_scan_answer_seconds_sum") > 0
    assert scraped.value("zpcode_scan_errors_total") == 0


def test_where_answers_come_from_and_what_they_cost(observed: ScanService, registry: ScanAuthority) -> None:
    observed.get(registry.item())
    eventually(lambda: _scrape(observed).value("zpcode_scan_events_sent_total") == 1)
    scraped = _scrape(observed)
    places = {
        place: scraped.value("zpcode_scan_answers_from", place=place) for place in ("redis", "database", "nowhere")
    }
    assert places == {"redis": 1, "database": 0, "nowhere": 0}
    assert scraped.value("zpcode_scan_redis_round_trips_total") == pytest.approx(observed.app.redis.trips, abs=5)
    assert scraped.value("zpcode_scan_database_queries_total") >= 1
    assert scraped.value("zpcode_scan_projection_revision") == observed.app.memory.revision > 0
    assert scraped.value("zpcode_scan_projection_info", generation=str(observed.app.memory.generation)) == 1
    assert scraped.value("zpcode_scan_cards") == len(observed.app.memory) > 0
    assert scraped.value("zpcode_scan_keyring_serial") == observed.app.keyring.current().serial
    assert scraped.value("zpcode_scan_signing_key_until_timestamp_seconds") > time.time()
    assert scraped.value("zpcode_scan_stream_limit") == observed.app.settings.scan_stream_length
    assert scraped.value("zpcode_scan_loop_answers") == 1


def test_scans_that_no_stream_will_see_are_counted_as_dropped(
    addresses: ServerAddresses, registry: ScanAuthority
) -> None:
    with ScanService(make.settings(addresses, registry.room, scan_redis_url="", metrics_address="0", scan_buffer=2)) as service:  # fmt: skip
        for index in range(5):
            service.get(registry.item(index))
        scraped = _scrape(service)
    assert (scraped.value("zpcode_scan_events_waiting"), scraped.value("zpcode_scan_events_dropped_total")) == (2, 3)
    assert scraped.value("zpcode_scan_answers_from", place="database") == 1


def test_a_loop_that_stands_still_is_reported_and_does_not_hold_up_the_scrape(observed: ScanService) -> None:
    go_on = threading.Event()

    async def block() -> None:
        go_on.wait(30)  # what must never be done on an event loop

    blocked = asyncio.run_coroutine_threadsafe(block(), observed._loop)
    try:
        scraped = _scrape(observed)
    finally:
        go_on.set()
        blocked.result(10)
    assert scraped.value("zpcode_scan_loop_answers") == 0
    assert not scraped.has("zpcode_scan_cards")
    assert scraped.has("process_resident_memory_bytes")
    eventually(lambda: _scrape(observed).value("zpcode_scan_loop_lag_seconds") > 0.3)


def test_while_both_servers_stand_still_the_process_says_so_and_is_not_ready(
    addresses: ServerAddresses, registry: ScanAuthority, servers: Servers
) -> None:
    quick = make.settings(addresses, registry.room, metrics_address="0", scan_redis_ms=200, scan_database_ms=280)
    valkey, postgres = (servers.processes.pid(name) for name in ("valkey", "postgres"))
    with ScanService(quick) as service, frozen(valkey), frozen(postgres):
        eventually(lambda: _scrape(service).value("zpcode_scan_answers_from", place="nowhere") == 1)
        assert _scrape(service).value("zpcode_scan_ready") == 0
        assert service.get("/readyz").status_code == 503
        assert service.get("/healthz").status_code == 200
        assert service.verdict(registry.item()) == "unconfirmed"
    assert service.app.exposition.port


def test_the_public_port_has_no_metrics(observed: ScanService) -> None:
    answer = observed.get("/metrics")
    assert answer.status_code == 400
    assert "zpcode_scan" not in answer.text


# The installation, as a worker sees it ----------------------------------------------------------------------


class NoSigner(SignerClient):
    """A signer that is away."""

    def __init__(self) -> None:
        super().__init__(Path("/nonexistent"))

    def active_key(self) -> str:
        """Nothing."""
        raise SignerUnavailable(Text("停", "away"))


@pytest.fixture
def installation(engine: Engine, addresses: ServerAddresses) -> InstallationStatistics:
    """Statistics of the installation; `_read_again` makes them count again."""
    redis = client.connect(addresses.redis, seconds=5)
    return InstallationStatistics(engine, redis, NoSigner(), ProjectionComparison(engine, redis, 60))


def _read_again(installation: InstallationStatistics) -> Exposed:
    installation._counted_at = float("-inf")
    installation.read_database()
    installation.read_redis()
    return Exposed.of(metrics.registry("worker", installation))


def test_a_revocation_that_redis_has_not_got_shows_as_lag(
    registry: ScanAuthority, installation: InstallationStatistics
) -> None:
    level = _read_again(installation)
    assert level.value("zpcode_projection_lag_revisions") == level.value("zpcode_projection_lag_seconds") == 0
    newest = registry.commit(REVOKED)
    behind = _read_again(installation)
    assert behind.value("zpcode_projection_revision", place="database") == newest
    assert behind.value("zpcode_projection_lag_revisions") == 1
    assert behind.value("zpcode_projection_lag_seconds") > 0
    registry.project()
    assert _read_again(installation).value("zpcode_projection_lag_revisions") == 0


@pytest.mark.usefixtures("registry")
def test_an_emptied_redis_shows_as_lag(installation: InstallationStatistics, redis: Redis) -> None:
    head = _read_again(installation).value("zpcode_projection_revision", place="database")
    redis.flushall()
    assert _read_again(installation).value("zpcode_projection_lag_revisions") == head


@pytest.mark.usefixtures("registry")
def test_the_entries_that_wait_in_the_inbox_and_in_the_stream(
    installation: InstallationStatistics, redis: Redis
) -> None:
    names = ("entries", "added_total", "lag_entries", "pending_entries")

    def numbers() -> list[float]:
        scraped = _read_again(installation)
        return [scraped.value(f"zpcode_stream_{name}") for name in names]

    assert numbers() == [0, 0, 0, 0]
    redis.rpush(redis_keys.INBOX, *(b"x" for _ in range(3)))
    assert numbers() == [3, 3, 3, 0]
    for _ in range(10):
        redis.xadd(redis_keys.SCANS, {"e": b"x"})
    redis.xgroup_create(redis_keys.SCANS, redis_keys.SCAN_GROUP, id="0")
    redis.xreadgroup(redis_keys.SCAN_GROUP, "one", {redis_keys.SCANS: ">"}, count=4)
    assert numbers() == [13, 13, 9, 4]


def test_a_redis_whose_memory_is_full_is_still_drained(engine: Engine, redis: Redis) -> None:
    redis.rpush(redis_keys.INBOX, *(b"unreadable" for _ in range(3)))
    scans.drain(engine, redis, consumer="one", limit=1)
    redis.config_set("maxmemory", 1)
    try:
        assert scans.drain(engine, redis, consumer="one") == 2
        assert (redis.exists(redis_keys.INBOX), redis.xlen(redis_keys.SCANS)) == (0, 0)
    finally:
        redis.config_set("maxmemory", 0)


@pytest.mark.usefixtures("registry")
def test_what_is_in_the_database_is_counted(installation: InstallationStatistics, engine: Engine) -> None:
    empty = _read_again(installation)
    assert empty.value("zpcode_audit_entries_total") == 0
    assert {empty.value("zpcode_scan_partition_present", month=month) for month in ("this", "next")} == {0}
    ensure_partitions(engine, datetime.now(UTC).date())
    with engine.begin() as connection:
        for action, notice, decided_by in (
            ("revoke", "2026-1", "operator"),
            ("revoke", "", "operator"),
            ("recall", "2026-2", "operator"),
            ("recall", "own number", "enterprise:U1:K"),
        ):
            connection.execute(
                text("INSERT INTO status_change (scope, target, action, reason, notice, effective_at, state, decided_by, authority, created_at)"
                     " VALUES ('standard', 'T/1', :action, 'r', :notice, now(), 'revoked', :decided_by, '{}', now())"),
                {"action": action, "notice": notice, "decided_by": decided_by},
            )  # fmt: skip
        connection.execute(text("INSERT INTO scan (at, entry, gtin, verdict) VALUES ('2021-01-01', 'x', '', '')"))
    scraped = _read_again(installation)
    assert scraped.value("zpcode_decisions_total", scope="standard", action="revoke") == 2
    assert scraped.value("zpcode_decisions_total", scope="standard", action="recall") == 2
    assert scraped.value("zpcode_decisions_total", scope="code", action="revoke") == 0
    assert scraped.value("zpcode_notices_total") == 2
    assert {scraped.value("zpcode_scan_partition_present", month=month) for month in ("this", "next")} == {1}
    assert scraped.value("zpcode_scan_partition_stray") == 1
    assert _read_again(installation).value("zpcode_decisions_total", scope="standard", action="revoke") == 2, (
        "counted once"
    )


@pytest.mark.parametrize(("day", "following"), [(date(2026, 11, 30), date(2026, 12, 1)), (date(2026, 12, 31), date(2027, 1, 1))])  # fmt: skip
def test_the_month_after_this_one(day: date, following: date) -> None:
    assert statistics.months(day) == (day.replace(day=1), following)


@pytest.mark.usefixtures("registry")
def test_a_card_that_redis_lost_is_counted_as_a_finding(installation: InstallationStatistics, redis: Redis) -> None:
    redis.delete(f"zp:{{p:{GTIN}}}")
    comparison = installation._comparison
    assert comparison is not None
    comparison.step()
    scraped = _read_again(installation)
    assert scraped.value("zpcode_comparison_findings_total", kind="missing") == 1
    assert scraped.value("zpcode_comparison_mended_total") == 1
    assert scraped.value("zpcode_comparison_cards_total") > 1


def test_a_part_that_is_away_is_reported_as_down_and_its_numbers_are_left_out(engine: Engine) -> None:
    now = 0.0
    installation = InstallationStatistics(engine, client.connect("redis://127.0.0.1:1"), NoSigner(), clock=lambda: now)
    installation.read_database()
    for read in (installation.read_redis, installation.read_signer):
        with pytest.raises(Unavailable):
            read()
    scraped = Exposed.of(metrics.registry("worker", installation))
    assert {part: scraped.value("zpcode_part_up", part=part) for part in ("database", "redis", "signer")} == {"database": 1, "redis": 0, "signer": 0}  # fmt: skip
    assert scraped.has("zpcode_batches")
    assert not scraped.has("zpcode_stream_entries")
    now = 60.0
    old = Exposed.of(metrics.registry("worker", installation))
    assert old.value("zpcode_part_up", part="database") == 0
    assert not old.has("zpcode_batches")
