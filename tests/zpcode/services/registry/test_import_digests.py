"""What an import enters into the audit log: digests of what the file says, never of what it only met in the database."""
# A test's name is its sentence; a docstring stands where there is more to say.

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Engine, text

from tests.support.pictures import jpeg
from tests.support.registry_data import as_json, as_xlsx, gtin, registry, uscc
from zpcode.errors import Conflict, ImportRefused
from zpcode.rules.access import Caller, Role
from zpcode.rules.record_digest import MAX_RECORDS
from zpcode.rules.registry.changes import ImportReport
from zpcode.services.pictures.storage import PictureStorage
from zpcode.services.records.comparison import compare
from zpcode.services.records.kinds import REGISTRY
from zpcode.services.registry import product_pictures
from zpcode.services.registry.importing import import_registry
from zpcode.services.registry.product_pictures import PictureKind
from zpcode.store import record_log
from zpcode.store.database.session import transaction

MAKER = Caller(Role.ENTERPRISE, uscc(1), "maker")
Content = dict[str, list[dict[str, Any]]]


def bring_in(engine: Engine, data: bytes, now: datetime) -> ImportReport:
    """Import a registry file as the operator."""
    return import_registry(engine, data, actor="operator:*:test", now=now)


def attack(engine: Engine, statement: str) -> None:
    """Change something with the role of the authority, past the service."""
    with engine.begin() as connection:
        assert connection.execute(text(statement)).rowcount > 0


def differing(engine: Engine) -> dict[str, str]:
    """The records that differ from the log, with the kind of the difference."""
    with transaction(engine) as connection:
        pages = [page for kind in REGISTRY for page in compare(connection, kind, covered=True)]
    return {one.name: one.kind for page in pages for one in page.wrong}


def entries(engine: Engine, name: str) -> int:
    """How many entries have a digest of a record."""
    with transaction(engine) as connection:
        return len(record_log.entries(connection, name, 100))


def test_every_record_of_an_import_has_its_digest(engine: Engine, now: datetime) -> None:
    bring_in(engine, as_json(registry(1)), now)
    bring_in(engine, as_xlsx(registry(2)), now)
    assert differing(engine) == {}
    with transaction(engine) as connection:
        names = [name for kind in REGISTRY for part in record_log.names_of(connection, kind.kinds) for name in part]
    assert sorted(name for name in names if not name.endswith((gtin(2), uscc(2)))) == sorted([
        f"enterprise:{uscc(1)}", "standard:T/ZZB 0001-2023", "standard:T/ZZB 0002-2023", "body:ZJ-01",
        "certificate:ZM-0001", "certificate:ZM-0002", "recognition:PZB-0001", "recognition:PZB-0002",
        *(f"{kind}:{gtin(1)}" for kind in ("product", "indicators", "commitments", "claims")),
    ])  # fmt: skip


def test_the_same_file_again_enters_nothing(engine: Engine, now: datetime) -> None:
    bring_in(engine, as_json(registry(1)), now)
    bring_in(engine, as_json(registry(1)), now)
    with transaction(engine) as connection:
        assert connection.execute(text("SELECT count(*) FROM audit")).scalar_one() == 1


def test_a_large_import_has_several_bounded_entries_about_the_same_file(engine: Engine, now: datetime) -> None:
    """The entry with the counts is the last of them."""
    one = registry(1)
    number = MAX_RECORDS + 50
    standards = [
        one["standards"][0] | {"number": f"T/ZZB {2000 + each}-2023", "registration": f"ZZB T{2000 + each}-2023"}
        for each in range(number)
    ]
    bring_in(engine, as_json({"standards": standards}), now)
    with transaction(engine) as connection:
        rows = connection.execute(text("SELECT action, object, detail FROM audit ORDER BY id")).all()
    assert [row.action for row in rows] == ["records", "registry.import"]
    assert len({row.object for row in rows}) == 1
    assert [len(row.detail["records"]) for row in rows] == [MAX_RECORDS, 50]
    assert differing(engine) == {}


def test_a_dry_run_enters_nothing(engine: Engine, now: datetime) -> None:
    import_registry(engine, as_json(registry(1)), actor="operator:*:test", now=now, dry_run=True)
    with transaction(engine) as connection:
        assert connection.execute(text("SELECT count(*) FROM audit")).scalar_one() == 0


def test_a_file_without_the_changed_column_does_not_confirm_it(engine: Engine, now: datetime) -> None:
    """A missing column means that the value stays as it is: here that would be the value of the attacker."""
    bring_in(engine, as_json(registry(1)), now)
    attack(engine, "UPDATE enterprise SET code_quota = 1000000000")
    with pytest.raises(ImportRefused) as refused:
        bring_in(engine, as_json(registry(1)), now)
    assert [(one.reason, one.where) for one in refused.value.findings] == [("altered", "/enterprises/0")]
    assert differing(engine) == {f"enterprise:{uscc(1)}": "altered"}
    bring_in(engine, as_xlsx(registry(1)), now)
    assert differing(engine) == {}
    with transaction(engine) as connection:
        assert connection.execute(text("SELECT code_quota FROM enterprise")).scalar_one() is None


def test_an_import_of_one_list_does_not_confirm_the_rest_of_the_product(engine: Engine, now: datetime) -> None:
    bring_in(engine, as_xlsx(registry(1)), now)
    attack(engine, "UPDATE product SET tier = 'china_premium'")
    attack(engine, "INSERT INTO commitment SELECT gtin, 3, kind, text FROM commitment WHERE position = 1")
    indicators = [registry(1)["indicators"][0] | {"product_value": "63"}]
    report = bring_in(engine, as_json({"indicators": indicators}), now)
    assert report.cards == ()
    assert report.withheld == {gtin(1): (f"commitments:{gtin(1)}", f"product:{gtin(1)}")}
    assert set(differing(engine)) == {f"product:{gtin(1)}", f"commitments:{gtin(1)}"}


def test_a_recognition_alone_does_not_confirm_its_product(engine: Engine, now: datetime) -> None:
    bring_in(engine, as_xlsx(registry(1)), now)
    attack(engine, "UPDATE product SET tier = 'china_premium'")
    with pytest.raises(ImportRefused) as refused:
        bring_in(engine, as_json({"recognitions": registry(1)["recognitions"]}), now)
    assert [(one.reason, one.where) for one in refused.value.findings] == [("altered", f"product:{gtin(1)}")]


def test_a_new_recognition_is_in_the_digest_of_its_product(engine: Engine, now: datetime) -> None:
    bring_in(engine, as_xlsx(registry(1)), now)
    new = registry(1)["recognitions"][0] | {"number": "PZB-0009", "valid_from": "2028-03-01", "valid_to": "2029-03-01"}
    bring_in(engine, as_json({"recognitions": [new]}), now)
    assert differing(engine) == {}
    assert entries(engine, f"product:{gtin(1)}") == 2


def test_a_record_that_was_invented_is_confirmed_only_by_the_whole_of_it(engine: Engine, now: datetime) -> None:
    bring_in(engine, as_xlsx(registry(1)), now)
    attack(engine, "INSERT INTO certification_body (code, name) VALUES ('ZJ-02', '{\"zh\": \"某机构\"}')")
    assert differing(engine) == {"body:ZJ-02": "unlogged"}
    body = {"code": "ZJ-02", "name": {"zh": "某机构", "en": None}, "approval": None, "website": None}
    with pytest.raises(ImportRefused):
        bring_in(engine, as_json({"bodies": [{"code": "ZJ-02", "name": {"zh": "某机构"}}]}), now)
    bring_in(engine, as_json({"bodies": [body]}), now)
    assert differing(engine) == {}


@pytest.fixture
def storage(tmp_path: Any) -> PictureStorage:
    """A folder for pictures."""
    (tmp_path / "pictures").mkdir()
    return PictureStorage((tmp_path / "pictures").as_uri())


def test_a_picture_is_in_the_log_and_confirms_nothing_else(
    engine: Engine, now: datetime, storage: PictureStorage
) -> None:
    bring_in(engine, as_xlsx(registry(1)), now)
    put = partial(product_pictures.put, engine, storage, gtin(1), PictureKind.PICTURE, caller=MAKER, now=now)
    put(jpeg(400, 300))
    assert differing(engine) == {}
    attack(engine, "UPDATE product SET tier = 'china_premium', mark_developed = image_developed")
    put(jpeg(300, 300))
    assert differing(engine) == {f"product:{gtin(1)}": "altered", f"mark:{gtin(1)}": "unlogged"}
    with pytest.raises(Conflict, match="differs from the audit log"):
        product_pictures.remove(engine, gtin(1), PictureKind.PICTURE, caller=MAKER, now=now)


def test_a_removed_picture_needs_no_digest(engine: Engine, now: datetime, storage: PictureStorage) -> None:
    bring_in(engine, as_xlsx(registry(1)), now)
    product_pictures.put(engine, storage, gtin(1), PictureKind.MARK, jpeg(400, 300), caller=MAKER, now=now)
    product_pictures.remove(engine, gtin(1), PictureKind.MARK, caller=MAKER, now=now)
    assert differing(engine) == {}
    bring_in(engine, as_xlsx(registry(1)), now)
    assert differing(engine) == {}


def test_an_import_reads_its_digests_by_the_index(engine: Engine, now: datetime) -> None:
    """Not by reading the whole log: it has millions of entries."""
    bring_in(engine, as_json(registry(1)), now)
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL enable_seqscan = off"))
        plan = connection.execute(text("EXPLAIN " + str(record_log._LOGGED)), {"names": ["body:ZJ-01"]}).scalars()
        assert "audit_records" in "\n".join(plan)
