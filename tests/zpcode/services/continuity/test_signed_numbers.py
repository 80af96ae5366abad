"""Batch numbers that only the signer's log knows: code files, Redis and the rows of the database are lost."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import msgspec
import pytest

from tests.support import restores
from tests.support.recovery_setting import Restorable
from tests.support.registry_data import gtin
from tests.support.status_setting import MAKER, in_redis, reserved
from zpcode.errors import DatabaseBehind
from zpcode.rules.continuity import Marks
from zpcode.rules.status.decisions import Action
from zpcode.services.continuity.gate import ContinuityGate
from zpcode.services.continuity.recover import MARGIN, recover
from zpcode.services.continuity.witnesses import FilesWitness
from zpcode.store import recovery
from zpcode.store.database.session import transaction
from zpcode.wire.calendar import today
from zpcode.wire.card import BatchCard, ProductCard, batch_key, product_key
from zpcode.wire.payload import Level
from zpcode.wire.verdict import Evidence, Proof, Verdict, decide
from zpcode.wire.vocabulary import Scope


def lose(service: Restorable, dumped: bytes, *numbers: int) -> None:
    """Put the backup back; the code files of these batches and everything in Redis are gone."""
    restores.restore(service.addresses, dumped)
    for number in numbers:
        service.checked.file(number).unlink()
    service.redis.flushall()


def issued_after_backup(service: Restorable, count: int) -> tuple[bytes, list[int]]:
    """A backup, and the numbers of the batches of item codes that were issued after it."""
    dumped = restores.dump(service.addresses)
    return dumped, [service.issue(Level.ITEM, f"after-{n}").number for n in range(count)]


def verdict(service: Restorable, number: int) -> Verdict:
    """What the scan of a genuine sealed code of this batch shows, whose product has its card."""
    cards = in_redis(service.redis)
    batch, product = cards(batch_key(number)), cards(product_key(gtin(1)))
    assert batch is not None
    assert product is not None
    evidence = Evidence(
        Level.ITEM,
        Proof.SEALED,
        confirmed=True,
        batch=msgspec.msgpack.decode(batch, type=BatchCard),
        product=msgspec.msgpack.decode(product, type=ProductCard),
        index=3,
    )
    now = datetime.now(UTC)
    return decide(evidence, now=int(now.timestamp()), today=today(now).isoformat()).verdict


def move_sequence(service: Restorable, number: int) -> None:
    """What PostgreSQL does after a crash: a sequence goes on up to 32 numbers beyond the rows (SEQ_LOG_VALS)."""
    with transaction(service.engine) as connection:
        recovery.move_sequences(connection, Marks(batch=number))


def test_a_number_that_only_the_signer_knows_is_ahead_lost_and_passed(service: Restorable) -> None:
    dumped, (number,) = issued_after_backup(service, 1)
    lose(service, dumped, number)
    gate = ContinuityGate(service.engine, service.setting.witnesses)
    assert ("signer", "batch", str(number)) in {(one.witness, one.kind, one.value) for one in gate.compare()}
    report = service.recover(without=("redis",))
    assert (number, "lost") in {tuple(one) for one in report.batches}
    assert verdict(service, number) is Verdict.UNCONFIRMED
    assert gate.compare() == ()
    assert service.issue(Level.ITEM, "next").number > number + MARGIN


def test_a_signed_number_below_the_sequence_is_ahead_too(service: Restorable) -> None:
    """The sequence alone survived: no mark of the signer is higher, and still the batch is lost."""
    dumped, (number,) = issued_after_backup(service, 1)
    lose(service, dumped, number)
    move_sequence(service, number + 20)
    gate = ContinuityGate(service.engine, service.setting.witnesses)
    gate.install()
    with pytest.raises(DatabaseBehind, match="zpcode recover"):
        reserved(service.engine, Level.ITEM, 1, MAKER, datetime.now(UTC), "next")
    shown = [
        (one.witness, one.kind, one.value) for one in recover(replace(service.setting, without=("redis",))).evidence
    ]
    assert ("signer", "signed", str(number)) in shown
    service.recover(without=("redis",))
    assert verdict(service, number) is Verdict.UNCONFIRMED
    assert gate.compare() == ()
    assert service.issue(Level.ITEM, "next").number > number + MARGIN


def test_every_number_in_the_log_has_a_record_after_the_recovery(service: Restorable) -> None:
    """The database went on after the restoration without a witness: lost numbers lie between those with a record."""
    dumped, numbers = issued_after_backup(service, 2)
    lose(service, dumped, *numbers)
    move_sequence(service, numbers[-1] + 20)
    later = service.issue(Level.ITEM, "later").number
    report = service.recover(without=("redis",))
    assert {(number, "lost") for number in numbers} <= {tuple(one) for one in report.batches}
    assert [verdict(service, number) for number in numbers] == [Verdict.UNCONFIRMED] * 2
    assert service.verdict(later, 3) is Verdict.VERIFIED
    assert recover(service.setting).evidence == ()


def test_a_number_in_recorded_evidence_is_lost_although_its_file_is_gone_since(service: Restorable) -> None:
    """The gate had seen the file of a compact batch, which nobody signs; then the folder was lost too."""
    dumped = restores.dump(service.addresses)
    number = service.issue(Level.COMPACT, "after").number
    restores.restore(service.addresses, dumped)
    gate = ContinuityGate(service.engine, [FilesWitness(service.checked.context.exports.path)])
    assert [(one.kind, one.value) for one in gate.compare()] == [("file", str(number))]
    service.checked.file(number).unlink()
    service.redis.flushall()
    report = service.recover(without=("redis",))
    assert (number, "lost") in {tuple(one) for one in report.batches}
    assert verdict(service, number) is Verdict.UNCONFIRMED
    assert service.issue(Level.COMPACT, "next").number > number + MARGIN


def test_a_process_that_has_read_what_is_lost_works_again_after_the_recovery(service: Restorable) -> None:
    """Without a restart: what it has read before the recovery is no evidence any more."""
    gate = ContinuityGate(service.engine, service.setting.witnesses)
    dumped = restores.dump(service.addresses)
    service.decide(Scope.BATCH, service.checked.item, Action.REVOKE)
    assert gate.compare() == ()
    restores.restore(service.addresses, dumped)
    assert "process" in {one.witness for one in gate.compare()}
    service.recover()
    assert gate.compare() == ()
