"""`zpcode fsck` of a tampered database: batches, orders, the log, decisions, cards, scans, jobs; and what it mends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from tests.support.fsck_setting import CheckedService
from tests.support.registry_data import uscc
from zpcode.services.fsck.report import InvariantState
from zpcode.wire.card import standing_key
from zpcode.wire.vocabulary import Scope

DAMAGES: dict[str, dict[str, tuple[str, str]]] = {
    "batch-numbers": {
        "a batch recorded as lost": ("INSERT INTO lost_batch (number, recovery) VALUES (:item, 1)", "lost"),
        "a lost batch not drawn": ("INSERT INTO lost_batch (number, recovery) VALUES (777, 1)", "sequence"),
        "the sequence went back": ("SELECT setval('batch_number', 1)", "sequence"),
    },
    "batch-records": {
        "more codes than were asked for": ("UPDATE batch SET quantity = quantity + 1 WHERE number = :item", "bytes"),
        "no digest": ("UPDATE batch SET sha256 = '' WHERE number = :product", "issued"),
        "reserved with a file": ("UPDATE batch SET state = 'reserved' WHERE number = :lot", "reserved"),
        "not active": ("UPDATE batch SET activated_at = NULL WHERE number = :item", "activation"),
        "no key": ("UPDATE batch SET key_id = '' WHERE number = :item", "key"),
    },
    "batch-audit": {
        "quantity against the log": (
            "UPDATE batch SET quantity = quantity + 1 WHERE number = :compact",
            "reserve-differs",
        ),
        "another digest": ("UPDATE batch SET sha256 = repeat('0', 64) WHERE number = :compact", "issue-differs"),
        "issued without the log": ("UPDATE batch SET state = 'issued' WHERE number = :waiting", "issue-entries"),
        "a batch nobody reserved": (
            (
                "INSERT INTO batch SELECT 9, uscc, gtin, level, quantity, lot, production_date, expiry_date, format, base,"
                " permutation_key, check_key, key_id, state, sha256, bytes, activation, created_by, created_at"
                " FROM batch WHERE number = :waiting"
            ),
            "reserve-entries",
        ),
    },
    "quotas": {
        "over its quota": (
            "UPDATE enterprise SET code_quota = 250, updated_at = '2020-01-01' WHERE uscc = :uscc",
            "quota",
        ),
    },
    "orders": {
        "an order without its batch": ("UPDATE idempotency SET batch = 777 WHERE batch = :item", "order"),
        "an order with another's batch": ("UPDATE idempotency SET batch = :lot WHERE batch = :compact", "order"),
    },
    "audit-chain": {
        "the log altered": ("UPDATE audit SET actor = 'nobody' WHERE id = 3", "hash"),
        "the log cut": ("DELETE FROM audit WHERE id = 3", "gap"),
    },
    "decisions": {
        "a decision altered": ("UPDATE status_change SET reason = 'recall' WHERE id = 1", "altered"),
        "a decision taken back": ("DELETE FROM status_change WHERE id = 1", "count"),
        "a decision never made": (
            (
                "INSERT INTO status_change"
                " (scope, target, action, reason, effective_at, state, decided_by, authority, created_at)"
                " SELECT scope, target, action, reason, effective_at, state, decided_by, authority, created_at"
                " FROM status_change WHERE id = 2"
            ),
            "unlogged",
        ),
    },
    "journey": {
        "an event altered": ("UPDATE trace_event SET kind = 'other' WHERE id = 1", "altered"),
        "a withdrawal taken back": (
            "UPDATE trace_event SET withdrawn_at = NULL, withdrawal = '' WHERE withdrawn_at IS NOT NULL",
            "altered",
        ),
        "an event taken back": ("DELETE FROM trace_event WHERE id = 2", "count"),
        "an event never reported": (
            (
                "INSERT INTO trace_event (batch, uscc, kind, at, precision, recorded_by, recorded_at)"
                " SELECT :item, uscc, kind, at, precision, recorded_by, recorded_at FROM trace_event WHERE id = 1"
            ),
            "unlogged",
        ),
    },
    "card-head": {
        "a head ahead": ("UPDATE card_head SET revision = revision + 1", "head"),
    },
    "cards": {
        "a card lost": ("DELETE FROM card WHERE key = 'p:' || :gtin", "missing"),
        "a standing lost": ("DELETE FROM card WHERE key = 's:enterprise:' || :uscc", "missing"),
        "a card altered": (
            (
                "UPDATE card SET body = (SELECT body FROM card WHERE key = 'x:' || :item || '\\:6')"
                " WHERE key = 'x:' || :item || '\\:5'"
            ),
            "differs",
        ),
        "an item's standing lost": ("DELETE FROM card WHERE key = 'x:' || :item || '\\:6'", "missing"),
        "a card of rubbish": ("UPDATE card SET body = '\\xff' WHERE key = 'b:' || :item", "unreadable"),
        "a card for nothing": (
            "INSERT INTO card SELECT 's:enterprise:X', revision + 1000, body FROM card WHERE key = 'b:' || :compact",
            "groundless",
        ),
        "the notices lost": ("DELETE FROM card WHERE key = 'n\\:'", "missing"),
        "a notice of another": (
            "INSERT INTO card SELECT 'n\\:x', revision + 2000, body FROM card WHERE key = 'b\\:' || :compact",
            "groundless",
        ),
        "another activation": (
            "UPDATE batch SET activated_at = activated_at + interval '1 day' WHERE number = :compact",
            "differs",
        ),
        "an event taken back": ("DELETE FROM trace_event WHERE kind = 'inspected'", "differs"),
    },
    "partitions": {
        "no partition": ("DROP TABLE {next}", "missing"),
    },
    "scan-counts": {
        "counted once too often": ("UPDATE item_history SET scans = scans + 1 WHERE index = 2", "item"),
        "another last time": ("UPDATE item_history SET last_at = last_at + interval '1 hour' WHERE index = 1", "item"),
        "counted twice": ("UPDATE item_history SET scans = scans + 2 WHERE index = 1", "total"),
        "a history of no item": ("UPDATE item_history SET index = 1000 WHERE index = 2", "astray"),
    },
    "jobs": {
        "a job about nothing": (
            (
                "INSERT INTO procrastinate_jobs (queue_name, task_name, args)"
                " VALUES ('issuing', 'issue_batch', '{\"number\": 777}')"
            ),
            "homeless",
        ),
        "a job whose worker is gone": (
            (
                "INSERT INTO procrastinate_jobs (queue_name, task_name, args, status)"
                " VALUES ('issuing', 'issue_batch', jsonb_build_object('number', :waiting), 'doing')"
            ),
            "abandoned",
        ),
        "a batch that nobody comes for": ("UPDATE batch SET state = 'reserved' WHERE number = :product", "unqueued"),
    },
}
"""By check, what is done to the database, and the reason of the finding that is its own."""


def test_what_is_wrong_in_the_database_is_found(world: CheckedService) -> None:
    """Each damage is found by its check, with its reason. All damages are in one world."""
    for check in DAMAGES:
        if check != "cards":
            _add_up(world, check)


def test_a_card_that_is_not_what_it_is_derived_from_is_found(world: CheckedService) -> None:
    """Missing, altered, unreadable, without a decision, older than its batch: these need a world without other damage."""
    _add_up(world, "cards")


def _add_up(world: CheckedService, check: str) -> None:
    for damage, (statement, reason) in DAMAGES[check].items():
        before = world.reasons(check)
        world.sql(statement.replace("{next}", f"scan_{_next_month()}"))
        assert world.reasons(check)[reason] > before[reason], damage


def _next_month() -> str:
    """The next month, as in partition names."""
    return (datetime.now(UTC).replace(day=1) + timedelta(days=32)).strftime("%Y_%m")


def test_scans_outside_their_month_are_found(world: CheckedService) -> None:
    """They prevent their month's partition from being made."""
    world.sql("INSERT INTO scan (at, entry, gtin, verdict) VALUES ('2031-05-05', '1-1.0', '1', 'verified')")
    (finding,) = world.of("partitions", repair=True).findings
    assert (finding.reason, finding.where) == ("unplaced", "2031-05")


def test_cards_are_written_again_from_decisions_that_the_log_confirms(world: CheckedService) -> None:
    """Lost, altered and unreadable cards are written again and projected like any other change."""
    world.sql("DELETE FROM card WHERE key = 's:enterprise:' || :uscc")
    world.sql("UPDATE card SET body = '\\xff' WHERE key = 'b:' || :item")
    report = world.check(repair=True)
    assert report.of("cards").repaired == 2
    assert world.check().whole


def test_no_card_is_written_from_a_decision_that_was_tampered_with(world: CheckedService) -> None:
    """Only a person can decide which of the two is right."""
    world.sql("UPDATE status_change SET reason = 'counterfeit-confirmed', state = 'good' WHERE scope = 'enterprise'")
    before = _card(world, standing_key(Scope.ENTERPRISE, uscc(1)))
    report = world.check(repair=True)
    assert report.of("decisions").state is InvariantState.BROKEN
    assert report.of("cards").state is InvariantState.BROKEN
    assert report.of("cards").repaired == 0
    assert _card(world, standing_key(Scope.ENTERPRISE, uscc(1))) == before


def _card(world: CheckedService, key: str) -> bytes:
    with world.engine.connect() as connection:
        return bytes(connection.execute(text("SELECT body FROM card WHERE key = :key"), {"key": key}).scalar_one())


def test_jobs_and_partitions_are_repaired(world: CheckedService) -> None:
    """A job without its worker is removed, a missing partition of a month is made."""
    world.sql(DAMAGES["jobs"]["a job whose worker is gone"][0])
    world.sql(f"DROP TABLE scan_{_next_month()}")
    assert world.of("jobs", repair=True).state is InvariantState.REPAIRED
    assert world.of("partitions", repair=True).state is InvariantState.REPAIRED
    assert world.check().whole
