"""What a recovery leaves for later cannot be changed or taken away past the service: `zpcode fsck` names it."""
# A test's name is its sentence; a docstring stands where there is more to say.

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import text

from tests.support import restores
from tests.support.recovery_setting import Restorable
from tests.support.registry_data import as_json, gtin, registry
from tests.support.status_setting import OPERATOR
from zpcode.rules.status.decisions import Action
from zpcode.services.continuity import settling
from zpcode.services.registry.importing import import_registry
from zpcode.wire.payload import Level
from zpcode.wire.vocabulary import Scope


def findings(service: Restorable) -> set[tuple[str, str]]:
    """The reasons and places of the findings about what recoveries have left."""
    return {(one.reason, one.where) for one in service.checked.of("recovery-records").findings}


def attack(service: Restorable, statement: str) -> None:
    """Run a statement as the authority's role, past the service."""
    with service.engine.begin() as connection:
        assert connection.execute(text(statement)).rowcount > 0


def test_each_record_that_a_recovery_leaves_is_compared(service: Restorable) -> None:
    service.decide(Scope.BATCH, service.checked.item, Action.REVOKE)
    dumped = restores.dump(service.addresses)
    service.decide(Scope.BATCH, service.checked.item, Action.RESTORE)
    lost, active = service.issue(Level.COMPACT, "lost"), service.issue(Level.COMPACT, "active")
    service.checked.file(lost.number).unlink()
    import_registry(service.engine, as_json(registry(1) | {"claims": []}), actor=OPERATOR.name, now=datetime.now(UTC))
    restores.restore(service.addresses, dumped)
    report = service.recover()
    assert report.waiting
    assert findings(service) == set()
    decision = f"held-decision:batch:{service.checked.item}#0-0"
    activation = f"held-activation:{active.number}"

    attack(service, "UPDATE held_decision SET confirmed_at = now()")
    attack(service, "UPDATE held_activation SET activated_at = activated_at - interval '1 day'")
    attack(service, "UPDATE lost_batch SET signed = true WHERE card IS NOT NULL")
    assert findings(service) == {
        ("missing", decision),
        ("altered", activation),
        ("altered", f"lost-batch:{lost.number}"),
    }
    attack(service, "DELETE FROM held_activation")
    assert ("missing", activation) in findings(service)


def test_what_a_person_settles_leaves_no_finding(service: Restorable) -> None:
    service.decide(Scope.BATCH, service.checked.item, Action.REVOKE)
    dumped = restores.dump(service.addresses)
    service.decide(Scope.BATCH, service.checked.item, Action.RESTORE)
    first, second = service.issue(Level.COMPACT, "later"), service.issue(Level.COMPACT, "last")
    restores.restore(service.addresses, dumped)
    service.recover()
    settling.confirm(service.setting, [f"activation:{first.number}"])
    settling.reject(service.setting, [f"batch:{service.checked.item}", f"activation:{second.number}"])
    assert findings(service) == set()
    assert service.checked.of("batch-audit").findings == []


def test_a_kept_card_that_an_import_releases_leaves_no_finding(service: Restorable) -> None:
    dumped = restores.dump(service.addresses)
    now = datetime.now(UTC)
    content = registry(1)
    content["recognitions"][0]["valid_to"] = "2027-01-31"
    import_registry(service.engine, as_json(content), actor=OPERATOR.name, now=now)
    service.decide(Scope.BATCH, service.checked.item, Action.FLAG)
    restores.restore(service.addresses, dumped)
    service.recover()
    attack(service, "UPDATE kept_card SET body = (SELECT body FROM card WHERE key LIKE 'b:%' LIMIT 1)")
    assert findings(service) == {("altered", f"kept-card:p:{gtin(1)}")}
    import_registry(service.engine, as_json(content), actor=OPERATOR.name, now=now)
    assert findings(service) == set()


def test_recoveries_that_somebody_added_past_the_service_stop_no_recovery_and_are_named(service: Restorable) -> None:
    dumped = restores.dump(service.addresses)
    service.decide(Scope.BATCH, service.checked.item, Action.REVOKE)
    restores.restore(service.addresses, dumped)
    attack(service, "INSERT INTO recovery (id, at, actor, audit, taken_in) VALUES (1, now(), 'x', 1, '{}')")
    assert findings(service) == {("uncounted", "recovery:1")}
    report = service.recover()
    assert report.number == 2
    assert findings(service) == {("no-recovery", "recovery:1")}
    attack(service, "INSERT INTO recovery SELECT id + 7, at, actor, audit, taken_in FROM recovery WHERE id = 2")
    assert findings(service) == {
        ("no-recovery", "recovery:1"),
        ("shared", "recovery:2"),
        ("uncounted", "recovery:9"),
    }
