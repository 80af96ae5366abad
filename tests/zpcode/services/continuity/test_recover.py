"""`zpcode recover` brings a restored database forward: no number, code or decision is lost, and none is used twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from tests.support import restores
from tests.support.recovery_setting import Restorable
from tests.support.registry_data import as_json, gtin, registry
from tests.support.status_setting import MAKER, OPERATOR, in_redis, reserved
from zpcode.cli import recover as recover_command
from zpcode.errors import DatabaseBehind, NotFound
from zpcode.projection import projector
from zpcode.rules.continuity import BehindEvidence
from zpcode.rules.status.decisions import Action
from zpcode.services import audit
from zpcode.services.audit_heads import Countersigner, HeadFile
from zpcode.services.continuity import settling
from zpcode.services.continuity.batches import RecoveredBatch
from zpcode.services.continuity.gate import ContinuityGate
from zpcode.services.continuity.recover import MARGIN, recover
from zpcode.services.continuity.report import RecoveryReport
from zpcode.services.fsck.continuity import RECOVER
from zpcode.services.head_comparison import CountersignedHeads
from zpcode.services.registry.importing import import_registry
from zpcode.services.registry.product_cards import turn_cards
from zpcode.store import continuity
from zpcode.store.database.session import transaction
from zpcode.wire.card import BatchCard, ProductCard, batch_key
from zpcode.wire.payload import Level
from zpcode.wire.verdict import Verdict
from zpcode.wire.vocabulary import Scope


def test_what_the_operator_did_and_the_recovery(service: Restorable) -> None:
    """Dump, issue, revoke, restore, recover: the batch is there again, its codes are good, the revoked ones are not."""
    dumped = restores.dump(service.addresses)
    sealed, compact = service.issue(Level.ITEM, "after"), service.issue(Level.COMPACT, "after")
    ordered = reserved(service.engine, Level.ITEM, 1, MAKER, datetime.now(UTC), "ordered")
    service.decide(Scope.BATCH, service.checked.item, Action.REVOKE, notice="公告1号")
    service.decide(Scope.CODE, f"{sealed.number}:3", Action.REVOKE)
    service.decide(Scope.RANGE, compact.number, Action.SUSPEND, first=10, last=19)
    before = audit.verify(service.engine).chain.count
    restores.restore(service.addresses, dumped)
    gate = ContinuityGate(service.engine, service.setting.witnesses)
    gate.install()
    with pytest.raises(DatabaseBehind):
        reserved(service.engine, Level.ITEM, 1, MAKER, datetime.now(UTC), "again")
    broken = [one for one in service.fsck(gate, repair=True).outcomes if one.findings]
    assert (broken[0].invariant.name, broken[0].repaired) == ("continuity", 0)
    assert {one.remedy for one in broken} == {RECOVER}

    shown = recover(service.setting)
    assert gate.compare() != ()
    report = service.recover()
    assert [(one.number, one.outcome) for one in report.batches] == [(one.number, one.outcome) for one in shown.batches]
    outcomes = {one.number: one.outcome for one in report.batches}
    assert (outcomes[sealed.number], outcomes[compact.number], outcomes[ordered.number]) == ("issued", "issued", "unproven")  # fmt: skip
    assert gate.compare() == ()
    assert service.verdict(service.checked.item, 50) is Verdict.REVOKED
    assert service.verdict(sealed.number, 3) is Verdict.REVOKED
    assert service.verdict(compact.number, 12) is Verdict.SUSPENDED
    assert service.verdict(sealed.number, 4) is Verdict.NOT_ACTIVATED  # only Redis says that it was activated
    assert service.confirm_all()
    assert service.verdict(service.checked.item, 50) is Verdict.REVOKED
    assert service.verdict(sealed.number, 3) is Verdict.REVOKED
    assert service.verdict(sealed.number, 4) is Verdict.VERIFIED
    assert service.verdict(compact.number, 12) is Verdict.SUSPENDED
    assert service.verdict(compact.number, 20) is Verdict.VERIFIED
    again = service.batch(sealed.number)
    assert again is not None
    assert (again.sha256, again.bytes, again.key_id, again.base) == (sealed.sha256, sealed.bytes, sealed.key_id, sealed.base)  # fmt: skip
    assert report.lost_entries[1] == before
    assert audit.verify(service.engine).whole
    new = reserved(service.engine, Level.ITEM, 1, MAKER, datetime.now(UTC), "again").number
    assert new > ordered.number + MARGIN
    projector.catch_up(service.engine, service.redis)
    fsck = service.fsck(gate, deep=True)
    assert [(one.invariant.name, one.findings, one.obstacle) for one in fsck.outcomes if one.findings or one.obstacle] == []  # fmt: skip


def test_a_second_recovery_finds_nothing(service: Restorable) -> None:
    """Also after a restore of the same dump, which is recovered again."""
    dumped = restores.dump(service.addresses)
    service.decide(Scope.BATCH, service.checked.item, Action.REVOKE)
    for _ in range(2):
        restores.restore(service.addresses, dumped)
        assert service.recover().evidence
        assert service.recover().evidence == ()
        assert service.verdict(service.checked.item, 50) is Verdict.REVOKED


def test_a_batch_without_its_file_is_lost_and_its_codes_cannot_be_confirmed(service: Restorable) -> None:
    """Not forged: they were issued. When its file is found again, the next recovery records the batch."""
    dumped = restores.dump(service.addresses)
    lost = service.issue(Level.COMPACT, "after")
    path = service.checked.file(lost.number)
    aside = path.rename(path.with_name("aside"))
    restores.restore(service.addresses, dumped)
    report = service.recover()
    assert {one.number: one.outcome for one in report.batches}[lost.number] == "unproven"
    assert service.verdict(lost.number, 3) is Verdict.UNCONFIRMED
    fsck = service.checked.check(now=datetime.now(UTC))
    assert [one.invariant.name for one in fsck.outcomes if one.findings] == []
    aside.rename(path)
    report = service.recover()
    assert [(one.number, one.outcome) for one in report.batches] == [(lost.number, "issued")]
    assert service.confirm_all()
    assert service.verdict(lost.number, 3) is Verdict.VERIFIED
    fsck = service.checked.check(now=datetime.now(UTC))
    assert [one.invariant.name for one in fsck.outcomes if one.findings] == []


def test_where_only_the_restored_database_knows_that_it_is_behind_numbers_are_left_out(service: Restorable) -> None:
    """Redis, code files and signer were lost too. The codes of the numbers that are left out cannot be confirmed."""
    last = service.issue(Level.COMPACT, "last").number
    proof = BehindEvidence("restore", "restored", "2026-11-29T07:00:00+00:00", "")
    with transaction(service.engine) as connection:
        continuity.record_behind(connection, [proof], datetime.now(UTC))
    report = service.recover()
    left_out = [one.number for one in report.batches if one.outcome == "lost"]
    assert left_out == list(range(last + 1, last + MARGIN + 1))
    cards = [in_redis(service.redis)(batch_key(number)) for number in left_out]
    assert all(card is not None and msgspec.msgpack.decode(card, type=BatchCard).lost for card in cards)
    assert reserved(service.engine, Level.COMPACT, 1, MAKER, datetime.now(UTC), "next").number > left_out[-1]


def test_a_restoration_that_was_lost_is_held_until_a_person_confirms_it(service: Restorable) -> None:
    """Redis shows a code good that the database has revoked: the graver state holds."""
    service.decide(Scope.BATCH, service.checked.item, Action.REVOKE)
    dumped = restores.dump(service.addresses)
    service.decide(Scope.BATCH, service.checked.item, Action.RESTORE)
    assert service.verdict(service.checked.item, 50) is Verdict.VERIFIED
    restores.restore(service.addresses, dumped)
    report = service.recover()
    assert [(one.scope, one.target) for one in report.waiting] == [(Scope.BATCH, str(service.checked.item))]
    assert service.verdict(service.checked.item, 50) is Verdict.REVOKED
    fsck = service.checked.of("continuity")
    assert [finding.reason for finding in fsck.findings] == ["unconfirmed"]
    target = str(service.checked.item)
    settling.confirm(service.setting, [f"batch:{target}"])
    projector.catch_up(service.engine, service.redis)
    assert service.verdict(service.checked.item, 50) is Verdict.VERIFIED
    with pytest.raises(NotFound):
        settling.confirm(service.setting, [f"batch:{target}"])


def test_a_product_that_was_imported_after_the_backup_stays_as_it_was_shown(service: Restorable) -> None:
    """An ended recognition does not come back to life, and codes of a new product do not look forged, until the file is imported again."""
    dumped = restores.dump(service.addresses)
    content = registry(1)
    for one in content["recognitions"]:
        one["valid_to"] = "2026-01-31"
        one["old_stock"] = "revoked"
    now = datetime.now(UTC)
    files = [as_json(content), as_json(registry(2))]
    for data in files:
        import_registry(service.engine, data, actor=OPERATOR.name, now=now)
    projector.catch_up(service.engine, service.redis)
    assert service.verdict(service.checked.item, 50) is Verdict.REVOKED
    restores.restore(service.addresses, dumped)
    report = service.recover()
    assert set(report.kept) == {f"p:{gtin(1)}", f"p:{gtin(2)}"}
    new = in_redis(service.redis)(f"p:{gtin(2)}")
    assert new is not None
    assert msgspec.msgpack.decode(new, type=ProductCard).lost
    turn_cards(service.engine, now=now + timedelta(days=1))
    projector.catch_up(service.engine, service.redis)
    assert service.verdict(service.checked.item, 50) is Verdict.REVOKED
    fsck = service.checked.check(now=now, repair=True)
    assert {finding.where for one in fsck.outcomes for finding in one.findings} == set(report.kept)
    assert service.verdict(service.checked.item, 50) is Verdict.REVOKED
    for data in files:
        import_registry(service.engine, data, actor=OPERATOR.name, now=now)
    projector.catch_up(service.engine, service.redis)
    assert [one.invariant.name for one in service.checked.check(now=now).outcomes if one.findings] == []


def test_a_countersigned_entry_that_was_lost_is_never_another_one(service: Restorable, tmp_path: Path) -> None:
    """Redis and the files are lost too: the signer alone knows how far the audit log had come, and countersigns on."""
    dumped = restores.dump(service.addresses)
    service.decide(Scope.BATCH, service.checked.item, Action.REVOKE)
    file = HeadFile(tmp_path / "heads.jsonl")
    with service.house.client() as signer:
        before = Countersigner(service.engine, signer, file).step()
        assert before is not None
        restores.restore(service.addresses, dumped)
        service.redis.flushall()
        gate = ContinuityGate(service.engine, service.setting.witnesses)
        assert [(one.witness, one.kind, one.value) for one in gate.compare()] == [("signer", "audit", str(before.id))]
        assert service.recover(without=("redis",)).lost_entries[1] == before.id
        assert gate.compare() == ()
        after = Countersigner(service.engine, signer, file).step()
        assert after is not None
        assert after.id > before.id
        heads = CountersignedHeads(file, signer, service.house.keyring)
    assert audit.verify(service.engine, heads=heads).whole


def test_the_command_shows_applies_and_confirms(service: Restorable, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit status 1 while the database is behind or something waits for a person, else 0."""
    exports, room = service.checked.context.exports, service.house.room
    values = {"DATABASE_URL": service.addresses.database, "REDIS_URL": service.addresses.redis,
              "SIGNER_SOCKET": service.house.socket, "EXPORT_DIR": exports.path, "FILE_KEY": exports.key_file,
              "KEYRING": room.keyring, "ROOT_PUBLIC": room.root_public}  # fmt: skip
    for name, value in values.items():
        monkeypatch.setenv(f"ZPCODE_{name}", str(value))

    def run(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(recover_command.app, list(arguments))
        return done.exit_code, done.output or str(done.exception)

    target = f"batch:{service.checked.item}"
    service.decide(Scope.BATCH, service.checked.item, Action.REVOKE)
    assert run() == (0, "数据库没有落后 / the database is not behind\n")
    dumped = restores.dump(service.addresses)
    service.decide(Scope.BATCH, service.checked.item, Action.RESTORE)
    restores.restore(service.addresses, dumped)
    status, shown = run()
    assert (status, "nothing was done yet" in shown) == (1, True)
    assert "API keys that were revoked after the backup are valid again" in shown
    assert "zpcode access list" in shown
    assert f"until confirmed: {target}" in shown, "a preview shows all that will be left to a person"
    assert "is not what was shown" in run("--apply", "0" * 32)[1]
    offer = run("--without", "signer", "--above", "70")[1].splitlines()[-1]
    assert offer.endswith(" --without signer --above 70"), "the same options apply what was shown"
    status, applied = run(*shown.splitlines()[-1].split()[2:])
    assert (status, f"  - {target} " in applied) == (1, True)
    assert service.verdict(service.checked.item, 50) is Verdict.REVOKED
    confirming = next(line for line in applied.splitlines() if "--confirm-all" in line)
    assert run(*confirming.split()[-2:])[0] == 0
    assert service.verdict(service.checked.item, 50) is Verdict.VERIFIED
    assert run()[0] == 0


def test_numbers_without_a_record_that_follow_each_other_are_one_line() -> None:
    """A recovery leaves a hundred numbers out: the batches that were restored are not lost among them."""
    outcomes = [(7, "issued"), *((number, "lost") for number in range(8, 108)), (200, "lost"), (201, "unproven")]
    report = RecoveryReport(
        evidence=(BehindEvidence("redis", "batch", "8", "6"),),
        batches=[RecoveredBatch(number, outcome) for number, outcome in outcomes],
    )
    lines = [line.partition(" / ")[2] for line in recover_command.lines(report) if "/ batch" in line]
    assert [line.partition(" with")[0].partition(":")[0] for line in lines] == [
        "batch 7 restored as issued",
        "batches 8 to 107",
        "batch 200",
        "batch 201 only Redis has a card of it and nothing proves it",
    ]
