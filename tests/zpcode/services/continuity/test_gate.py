"""A database restored from a backup issues no number twice and forgets no decision: the gate closes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import Engine, text

from tests.support import restores
from tests.support.registry_data import as_json, registry
from tests.support.status_setting import (
    MAKER,
    OPERATOR,
    EnterpriseBatches,
    ask,
    furnished,
    in_redis,
    item_verdict,
    reserved,
    world,
)
from zpcode.embedded.servers import ServerAddresses
from zpcode.errors import DatabaseBehind, Unavailable
from zpcode.projection import heads, projector
from zpcode.projection.client import connect as redis_client
from zpcode.projection.comparison import ProjectionComparison
from zpcode.rules.continuity import Marks
from zpcode.rules.status.decisions import Action
from zpcode.services import access
from zpcode.services.continuity.gate import ContinuityGate
from zpcode.services.continuity.witnesses import FilesWitness, RedisWitness
from zpcode.services.registry.importing import import_registry
from zpcode.services.registry.product_cards import turn_cards
from zpcode.services.status.change import change, change_and_project
from zpcode.store import continuity
from zpcode.store.database.session import connect, transaction
from zpcode.wire import card, redis_keys
from zpcode.wire.payload import Level
from zpcode.wire.verdict import Verdict
from zpcode.wire.vocabulary import Scope

__all__ = ["furnished", "world"]

NEVER = "redis://127.0.0.1:1"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The folder of code files."""
    folder = tmp_path / "exports"
    folder.mkdir()
    return folder


def gate(engine: Engine, redis: Redis, directory: Path) -> ContinuityGate:
    """The gate of a process that has just started."""
    new = ContinuityGate(engine, [RedisWitness(redis), FilesWitness(directory)])
    new.install()
    return new


def _revoke(engine: Engine, redis: Redis, number: int, now: datetime) -> None:
    change_and_project(engine, redis, ask(Scope.BATCH, number, Action.REVOKE), caller=OPERATOR, now=now)


def test_after_a_restore_nothing_is_issued_decided_or_projected_and_what_was_revoked_stays_so(
    engine: Engine,
    addresses: ServerAddresses,
    redis: Redis,
    world: EnterpriseBatches,
    directory: Path,
    now: datetime,
) -> None:
    """What the operator did who found this: dump, issue, revoke, put the dump back, start again."""
    projector.catch_up(engine, redis)
    dumped = restores.dump(addresses)
    newest = reserved(engine, Level.COMPACT, 1, MAKER, now, "after").number
    _revoke(engine, redis, world.compact, now)
    assert item_verdict(in_redis(redis), world.compact, 1, now).verdict is Verdict.REVOKED
    restores.restore(addresses, dumped)
    gate(engine, redis, directory)
    writers: list[Callable[[], object]] = [
        lambda: reserved(engine, Level.COMPACT, 1, MAKER, now, "again"),
        lambda: change(engine, ask(Scope.BATCH, world.item, Action.REVOKE), caller=OPERATOR, now=now),
        lambda: import_registry(engine, as_json(registry(2)), actor=OPERATOR.name, now=now),
        lambda: access.create(engine, OPERATOR.role, "*", "a test", caller=OPERATOR, now=now),
        lambda: projector.catch_up(engine, redis),
        lambda: turn_cards(engine, now=now),
    ]
    for write in writers:
        with pytest.raises(DatabaseBehind, match="zpcode recover"):
            write()
    assert item_verdict(in_redis(redis), world.compact, 1, now).verdict is Verdict.REVOKED
    with transaction(engine) as connection:
        assert continuity.marks(connection).assigned.batch < newest


def test_a_projector_without_a_gate_never_writes_over_a_newer_redis(
    engine: Engine, addresses: ServerAddresses, redis: Redis, world: EnterpriseBatches, now: datetime
) -> None:
    """It compares under its own lock."""
    projector.catch_up(engine, redis)
    dumped = restores.dump(addresses)
    _revoke(engine, redis, world.compact, now)
    restores.restore(addresses, dumped)
    with pytest.raises(DatabaseBehind):
        projector.catch_up(engine, redis)
    change(engine, ask(Scope.BATCH, world.item, Action.FLAG), caller=OPERATOR, now=now)  # as many cards as were lost
    with pytest.raises(DatabaseBehind):
        projector.catch_up(engine, redis)
    assert item_verdict(in_redis(redis), world.compact, 1, now).verdict is Verdict.REVOKED


def test_a_process_remembers_how_far_the_database_had_come(
    engine: Engine, addresses: ServerAddresses, world: EnterpriseBatches, directory: Path, now: datetime
) -> None:
    """Redis is away, nothing was issued: only the process itself knows of the decision."""
    dumped = restores.dump(addresses)
    own = gate(engine, redis_client(NEVER), directory)  # type: ignore[arg-type]
    change(engine, ask(Scope.BATCH, world.compact, Action.REVOKE), caller=OPERATOR, now=now)
    assert own.compare() == ()
    restores.restore(addresses, dumped)
    with pytest.raises(DatabaseBehind):
        change(engine, ask(Scope.BATCH, world.item, Action.REVOKE), caller=OPERATOR, now=now)
    assert {one.witness for one in own.evidence} == {"process"}


def test_a_file_of_a_batch_that_the_database_does_not_have_closes_the_gate(
    engine: Engine, redis: Redis, world: EnterpriseBatches, directory: Path, now: datetime
) -> None:
    """Finished or not, of a number above the sequence or below it."""
    own = gate(engine, redis, directory)
    assert own.compare() == ()
    (directory / f"batch-{world.lot + 7}.csv.part").touch()
    with pytest.raises(DatabaseBehind):
        reserved(engine, Level.COMPACT, 1, MAKER, now, "next")
    assert [(one.kind, one.value) for one in own.evidence] == [("file", str(world.lot + 7))]


def test_the_evidence_stays_in_the_database_when_the_witness_is_emptied(
    engine: Engine, addresses: ServerAddresses, redis: Redis, world: EnterpriseBatches, directory: Path, now: datetime
) -> None:
    """Every other process refuses as well, also one whose Redis is empty."""
    projector.catch_up(engine, redis)
    dumped = restores.dump(addresses)
    _revoke(engine, redis, world.compact, now)
    restores.restore(addresses, dumped)
    assert gate(engine, redis, directory).compare()
    redis.flushall()
    other = connect(addresses.database)
    own = ContinuityGate(other, [RedisWitness(redis)])
    assert {one.witness for one in own.compare()} == {"redis"}
    other.dispose()


def test_redis_that_is_behind_or_empty_is_no_evidence(
    engine: Engine, redis: Redis, world: EnterpriseBatches, directory: Path, now: datetime
) -> None:
    """A replica of Redis that was promoted, or a flush: it is filled again."""
    own = gate(engine, redis, directory)
    projector.catch_up(engine, redis)
    old: Any = redis.hgetall("zp:{feed}:head")
    _revoke(engine, redis, world.compact, now)
    redis.hset("zp:{feed}:head", mapping=old)
    assert own.compare() == ()
    projector.catch_up(engine, redis)
    redis.flushall()
    assert own.compare() == ()
    projector.catch_up(engine, redis)
    assert item_verdict(in_redis(redis), world.compact, 1, now).verdict is Verdict.REVOKED


def test_redis_of_another_installation_is_neither_evidence_nor_overwritten(
    engine: Engine, redis: Redis, world: EnterpriseBatches, directory: Path
) -> None:
    """Two databases with one Redis would undo each other's decisions."""
    assert world
    foreign = Marks(installation="another", revision=10**6, audit=10**6, audit_hash="00" * 32)
    redis.hset("zp:{feed}:head", mapping={"generation": "g", "revision": 10**6, "marks": heads.encode(foreign)})
    own = gate(engine, redis, directory)
    with pytest.raises(DatabaseBehind, match="another installation"):
        projector.catch_up(engine, redis)
    assert {one.kind for one in own.evidence} == {"installation"}
    redis.flushall()
    projector.catch_up(engine, redis)
    assert own.compare() == ()


def test_without_any_witness_decisions_are_made_and_numbers_are_not_given(
    engine: Engine, world: EnterpriseBatches, tmp_path: Path, now: datetime
) -> None:
    """What protects people never waits; a number given twice cannot be taken back."""
    gate(engine, redis_client(NEVER), tmp_path / "unmounted")  # type: ignore[arg-type]
    change(engine, ask(Scope.BATCH, world.compact, Action.REVOKE), caller=OPERATOR, now=now)
    with pytest.raises(Unavailable, match="neither Redis nor"):
        reserved(engine, Level.COMPACT, 1, MAKER, now, "next")


def test_a_projector_that_is_killed_between_a_card_and_its_head_leaves_marks_of_that_card(
    engine: Engine, addresses: ServerAddresses, redis: Redis, world: EnterpriseBatches, directory: Path, now: datetime
) -> None:
    """Then the database is restored: the gate closes, and the card stays."""
    projector.catch_up(engine, redis)
    dumped = restores.dump(addresses)

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as broken:
        broken.setattr(projector, "_announce", killed)
        with pytest.raises(KeyboardInterrupt):
            _revoke(engine, redis, world.compact, now)
    restores.restore(addresses, dumped)
    with pytest.raises(DatabaseBehind):
        ProjectionComparison(engine, redis, 60).step()
    assert item_verdict(in_redis(redis), world.compact, 1, now).verdict is Verdict.REVOKED
    assert "revision" in [one.kind for one in gate(engine, redis, directory).compare()]


@pytest.mark.parametrize("above", [5, 2**50], ids=["plausible", "beyond what can be"])
def test_a_forged_card_with_a_revision_above_the_database_is_repaired_and_stops_nothing(
    engine: Engine, redis: Redis, world: EnterpriseBatches, directory: Path, now: datetime, above: int
) -> None:
    """The projector writes the marks before the cards, so a card above all marks is not the projector's."""
    projector.catch_up(engine, redis)
    where = redis_keys.location(card.batch_key(world.compact))[0]
    value: Any = redis.get(where)
    _, good = redis_keys.unpack(value)
    _revoke(engine, redis, world.compact, now)
    with transaction(engine) as connection:
        newest = continuity.marks(connection).reached.revision
    redis.set(where, redis_keys.pack(newest + above, good))
    redis.hset("zp:{feed}:head", "generation", "forged")
    comparison = ProjectionComparison(engine, redis, 60)
    comparison.step()
    assert comparison.by_kind == {"newer": 1}
    assert item_verdict(in_redis(redis), world.compact, 1, now).verdict is Verdict.REVOKED
    assert gate(engine, redis, directory).compare() == ()
    _revoke(engine, redis, world.item, now)


def test_scans_read_both_for_as_long_as_a_witness_disagrees(
    engine: Engine, redis: Redis, world: EnterpriseBatches, directory: Path
) -> None:
    """A damaged head is no evidence that the database is behind, but it stops the repair of Redis. So does another installation's."""
    projector.catch_up(engine, redis)
    right: Any = redis.hgetall("zp:{feed}:head")
    own = gate(engine, redis, directory)
    for marks in (b"damaged", heads.encode(Marks(installation="other"))):
        redis.hset("zp:{feed}:head", "marks", marks)
        own.compare()
        assert _doubted(engine)
        redis.hset("zp:{feed}:head", mapping=right)
        own.compare()
        assert not _doubted(engine)
    assert world.item


def _doubted(engine: Engine) -> bool:
    """What the scan service reads."""
    with transaction(engine) as connection:
        head = connection.execute(text("SELECT revision, body FROM scan_view WHERE key = 'head'")).one()
    assert head.revision >= 0
    return bytes(head.body) != b""
