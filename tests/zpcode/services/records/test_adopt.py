"""`zpcode audit adopt` and `zpcode audit show --record`: the first digests of an upgraded installation, and who entered a record."""
# A test's name is its sentence; a docstring stands where there is more to say.

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine, text
from typer.testing import CliRunner, Result

from tests.support.databases import as_owner
from tests.support.fsck_setting import CheckedService
from tests.support.registry_data import as_json, gtin, registry, uscc
from tests.support.status_setting import OPERATOR
from tests.zpcode.services.fsck.conftest import house, world
from zpcode.cli.audit import app
from zpcode.embedded.servers import ServerAddresses
from zpcode.errors import NotFound, Refused
from zpcode.rules.audit import GENESIS, Entry, digest
from zpcode.services.fsck.report import InvariantState
from zpcode.services.records.adopt import adopt_named, adopt_uncovered
from zpcode.services.registry.importing import import_registry
from zpcode.store.database.session import transaction

__all__ = ["house", "world"]
NOW = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)


def make_earlier(engine: Engine) -> None:
    """Take the digests out of the log, as if all its entries were of an earlier version, and calculate the chain again."""
    with as_owner(engine) as connection:
        connection.execute(text("ALTER TABLE audit DISABLE TRIGGER audit_append_only"))
        connection.execute(text("UPDATE audit SET detail = detail - 'records' - 'issued_at' - 'activated_at'"))
        previous = GENESIS
        for row in connection.execute(text("SELECT * FROM audit ORDER BY id")).all():
            entry = Entry(row.id, row.at, row.actor, row.action, row.object, row.detail)
            values = {"id": row.id, "previous": previous, "hash": digest(previous, entry)}
            connection.execute(text("UPDATE audit SET previous = :previous, hash = :hash WHERE id = :id"), values)
            previous = values["hash"]
        connection.execute(text("ALTER TABLE audit ENABLE TRIGGER audit_append_only"))


@pytest.fixture
def upgraded(world: CheckedService) -> CheckedService:
    """A service whose log has no digests."""
    make_earlier(world.engine)
    return world


def broken(world: CheckedService) -> dict[str, list[str]]:
    """The reasons of the findings by check."""
    report = world.check()
    return {one.invariant.name: [finding.reason for finding in one.findings] for one in report.outcomes if one.findings}


def test_an_upgraded_service_is_not_covered_until_the_operator_adopts_its_records(upgraded: CheckedService) -> None:
    uncovered = ["uncovered"]
    assert broken(upgraded) == {
        "registry-records": uncovered,
        "batch-audit": uncovered,
        "complaints": uncovered,
    }
    advice = upgraded.of("registry-records").remedy
    assert "zpcode audit adopt" in advice.en
    assert "zpcode audit adopt" in advice.zh
    count = adopt_uncovered(upgraded.engine, caller=OPERATOR, now=NOW)
    assert count == 9 + 5 + 2  # the registry; the batches; a complaint and its contact
    assert broken(upgraded) == {}
    assert adopt_uncovered(upgraded.engine, caller=OPERATOR, now=NOW) == 0
    with transaction(upgraded.engine) as connection:
        rows = connection.execute(text("SELECT DISTINCT actor FROM audit WHERE action LIKE 'records.%'")).scalars()
        assert list(rows) == [OPERATOR.name]


def test_an_uncovered_service_still_repairs_its_cards(upgraded: CheckedService) -> None:
    """Nothing speaks against a record that has no digest yet."""
    upgraded.sql("DELETE FROM card WHERE key = 'p:' || :gtin")
    assert upgraded.of("cards", repair=True).state is InvariantState.REPAIRED


def test_after_the_adoption_a_record_without_a_digest_is_an_alarm(upgraded: CheckedService) -> None:
    adopt_uncovered(upgraded.engine, caller=OPERATOR, now=NOW)
    with upgraded.engine.begin() as connection:
        connection.execute(text("INSERT INTO certification_body (code, name) VALUES ('ZJ-02', '{}')"))
    assert broken(upgraded) == {"registry-records": ["unlogged"]}


def test_an_interrupted_adoption_is_continued(upgraded: CheckedService) -> None:
    """Without its last entry the records that are left are still not covered."""
    adopt_named(upgraded.engine, ["body:ZJ-01"], "checked", caller=OPERATOR, now=NOW)
    assert broken(upgraded)["registry-records"] == ["uncovered"]
    assert adopt_uncovered(upgraded.engine, caller=OPERATOR, now=NOW) == 15
    assert broken(upgraded) == {}


def test_an_import_covers_what_its_file_has_in_full(upgraded: CheckedService) -> None:
    """What it has in part waits for the adoption: the rest is only met in the database."""
    body = {"code": "ZJ-01", "name": {"zh": "钱江认证中心", "en": None}, "approval": None, "website": None}
    enterprise = registry(1)["enterprises"][0] | {"phone": "0571-8800 1201"}
    content = {"bodies": [body], "enterprises": [enterprise]}
    import_registry(upgraded.engine, as_json(content), actor=OPERATOR.name, now=NOW)
    assert adopt_uncovered(upgraded.engine, caller=OPERATOR, now=NOW) == 15
    assert upgraded.of("registry-records").state is InvariantState.HOLDS


def test_a_record_that_was_put_right_by_hand_is_adopted_with_a_reason(world: CheckedService) -> None:
    name = f"enterprise:{uscc(1)}"
    with as_owner(world.engine) as connection:
        connection.execute(text("UPDATE enterprise SET phone = ''"))
    assert broken(world)["registry-records"] == ["altered"]
    with pytest.raises(Refused):
        adopt_named(world.engine, [name], " ", caller=OPERATOR, now=NOW)
    with pytest.raises(NotFound):
        adopt_named(world.engine, ["enterprise:X", "batch:x"], "why", caller=OPERATOR, now=NOW)
    assert adopt_named(world.engine, [name, name], "the court's order 7", caller=OPERATOR, now=NOW) == 1
    assert adopt_named(world.engine, [name], "again", caller=OPERATOR, now=NOW) == 0
    assert broken(world) == {"cards": ["differs"]}
    assert world.of("cards", repair=True).state is InvariantState.REPAIRED


def test_a_contact_that_was_deleted_early_on_request_is_adopted(world: CheckedService) -> None:
    with world.engine.begin() as connection:
        number = connection.execute(text("SELECT number FROM complaint")).scalar_one()
        connection.execute(text("DELETE FROM complaint_contact"))
    assert broken(world) == {"complaints": ["missing"]}
    adopt_named(world.engine, [f"complaint-contact:{number}"], "asked for", caller=OPERATOR, now=NOW)
    assert broken(world) == {}


def run(addresses: ServerAddresses, tmp_path: object, *arguments: str) -> Result:
    """A command on this test's database."""
    environment = {"ZPCODE_DATABASE_URL": addresses.database, "ZPCODE_HOME": str(tmp_path), "COLUMNS": "200"}
    return CliRunner(env=environment).invoke(app, list(arguments))


def test_the_command_shows_who_entered_a_record_and_what_of_it(
    engine: Engine, addresses: ServerAddresses, tmp_path: object
) -> None:
    first = registry(1)
    import_registry(engine, as_json(first), actor="operator:*:zhang", now=NOW)
    second = {"certificates": [first["certificates"][0] | {"valid_to": "2030-12-31"}], "bodies": first["bodies"]}
    import_registry(engine, as_json(second), actor="operator:*:li", now=NOW)
    shown = run(addresses, tmp_path, "show", "--record", "certificate:ZM-0001").output.splitlines()
    assert len(shown) == 2
    assert "operator:*:li  registry.import" in shown[0]
    assert '["valid_to", "2029-12-31", "2030-12-31"]' in shown[0]
    assert "operator:*:zhang  registry.import" in shown[1]
    assert gtin(1) not in shown[1].split('"cards"')[0]
    assert run(addresses, tmp_path, "show", "--record", "body:ZJ-01").output.count("registry.import") == 1
    assert run(addresses, tmp_path, "show", "--record", "body:ZJ-01", "--object", "x").exit_code == 2
    assert '"records": 9' in run(addresses, tmp_path, "show").output


def test_the_command_adopts(engine: Engine, addresses: ServerAddresses, tmp_path: object) -> None:
    import_registry(engine, as_json(registry(1)), actor=OPERATOR.name, now=NOW)
    assert "digests entered: 0" in run(addresses, tmp_path, "adopt").output
    make_earlier(engine)
    assert "digests entered: 9" in run(addresses, tmp_path, "adopt").output
    with as_owner(engine) as connection:
        connection.execute(text("UPDATE enterprise SET phone = ''"))
    name = f"enterprise:{uscc(1)}"
    assert run(addresses, tmp_path, "adopt", "--record", name).exit_code == 1
    assert "digests entered: 1" in run(addresses, tmp_path, "adopt", "--record", name, "--reason", "checked").output
