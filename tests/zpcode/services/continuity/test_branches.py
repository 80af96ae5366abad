"""Two databases that both went on from the same backup: what Redis has of the one is not lost in the other."""

from __future__ import annotations

from datetime import UTC, datetime

from tests.support import restores
from tests.support.recovery_setting import Restorable
from zpcode.rules.continuity import BehindEvidence
from zpcode.rules.status.decisions import Action
from zpcode.store import continuity
from zpcode.store.database.session import transaction
from zpcode.wire.payload import Level
from zpcode.wire.verdict import Verdict
from zpcode.wire.vocabulary import Scope


def _branched(service: Restorable, *items: int) -> bytes:
    """An older copy has become the database, without Redis. Returns the backup of the branch that was given up.

    That branch goes on for longer, and flags these items last.
    """
    older = restores.dump(service.addresses)
    for index in [*range(60, 70), *items]:
        service.decide(Scope.CODE, f"{service.checked.item}:{index}", Action.FLAG)
    given_up = restores.dump(service.addresses)
    restores.restore(service.addresses, older)
    service.redis.flushall()
    service.recover(without=("redis",))
    return given_up


def test_what_was_decided_and_issued_in_the_other_branch_is_not_lost(service: Restorable) -> None:
    """Its revisions are lower than those of the database that is restored, which has never had its cards."""
    given_up = _branched(service)
    service.decide(Scope.CODE, f"{service.checked.item}:50", Action.REVOKE)
    new = service.issue(Level.COMPACT, "branch")
    restores.restore(service.addresses, given_up)
    report = service.recover()
    assert (new.number, "issued") in [(one.number, one.outcome) for one in report.batches]
    assert service.verdict(service.checked.item, 50) is Verdict.REVOKED


def test_of_two_decisions_about_one_item_the_graver_holds_whichever_revision_is_higher(service: Restorable) -> None:
    """Each branch has decided about the item, and the one that is restored was later."""
    given_up = _branched(service, 50)
    service.decide(Scope.CODE, f"{service.checked.item}:50", Action.REVOKE)
    restores.restore(service.addresses, given_up)
    service.recover()
    assert service.verdict(service.checked.item, 50) is Verdict.REVOKED


def test_in_a_branch_that_has_overtaken_the_other_no_decision_is_lost_either(service: Restorable) -> None:
    """All its marks are higher: only the cards show that it is another branch."""
    given_up = _branched(service, 50)
    service.decide(Scope.CODE, f"{service.checked.item}:50", Action.REVOKE)
    service.decide(Scope.CODE, f"{service.checked.item}:51", Action.REVOKE)
    for index in range(70, 90):
        service.decide(Scope.CODE, f"{service.checked.item}:{index}", Action.FLAG)
    restores.restore(service.addresses, given_up)
    service.recover()
    assert service.verdict(service.checked.item, 50) is Verdict.REVOKED
    assert service.verdict(service.checked.item, 51) is Verdict.REVOKED


def test_numbers_that_an_earlier_recovery_left_out_have_no_codes_to_order_again(service: Restorable) -> None:
    """Redis has cards of them, which say that they are lost: the next recovery does not take them for batches."""
    older = restores.dump(service.addresses)
    proof = BehindEvidence("restore", "restored", "2026-11-29T07:00:00+00:00", "")
    with transaction(service.engine) as connection:
        continuity.record_behind(connection, [proof], datetime.now(UTC))
    lost = [one.number for one in service.recover().batches if one.outcome == "lost"]
    assert lost
    restores.restore(service.addresses, older)
    again = {one.number: one.outcome for one in service.recover().batches}
    assert {again[number] for number in lost} == {"lost"}
