"""A code file is removed after its time and written again on request, the same to the byte."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, select

from tests.support import issuing_setting as setting
from tests.support.code_folders import code_folder, content
from tests.support.issuing_fixtures import house, registered
from tests.support.issuing_setting import MAKER, NOW, OPERATOR, KeyHouse
from zpcode.errors import Conflict, SignerUnavailable, Unavailable
from zpcode.rules.batches.batch import Batch
from zpcode.services.batches import reserve, retention
from zpcode.services.batches.code_folder import CodeFolder
from zpcode.services.batches.issue import issue
from zpcode.services.batches.rewrite import REQUESTS_AT_ONCE, reissue, request_file
from zpcode.store import batches
from zpcode.store.database.session import transaction
from zpcode.store.tables.access import audit
from zpcode.wire.payload import Level

__all__ = ["house", "registered"]

DAYS = 90
LATER = NOW + timedelta(days=DAYS, hours=1)


@pytest.fixture
def folder(tmp_path: Path) -> CodeFolder:
    return code_folder(tmp_path / "exports")


def issued(engine: Engine, house: KeyHouse, folder: CodeFolder, key: str = "key-1", level: Level = Level.ITEM) -> Batch:
    """A new batch, issued at NOW."""
    number = setting.reserved(engine, key, level=level)
    return issue(engine, house.client(), number, folder=folder, clock=lambda: NOW)


def written(engine: Engine, house: KeyHouse, number: int, folder: CodeFolder, hours: int = 0) -> Batch:
    """What a worker does with a batch that awaits its file."""
    return issue(engine, house.client(), number, folder=folder, clock=lambda: LATER + timedelta(hours=hours))


def waiting(engine: Engine) -> list[int]:
    """The batches for which a worker queues a job."""
    with transaction(engine) as connection:
        return batches.waiting(connection, 100)


def test_a_file_is_removed_after_its_time_and_comes_back_on_request(
    engine: Engine, house: KeyHouse, folder: CodeFolder
) -> None:
    """Its time begins anew with the request; each step is in the audit log."""
    batch = issued(engine, house, folder)
    original, signer = content(folder, batch), house.client()
    assert retention.remove_files(engine, signer, folder, DAYS, NOW + timedelta(days=DAYS - 1)) == 0
    assert retention.remove_files(engine, signer, folder, 0, LATER) == 0
    assert retention.remove_files(engine, signer, folder, DAYS, LATER) == 1
    assert retention.remove_files(engine, signer, folder, DAYS, LATER) == 0
    assert list(folder.path.iterdir()) == []
    removed = reserve.get(engine, batch.number, MAKER)
    assert (removed.file_removed_at, removed.sha256, removed.awaits_file) == (LATER, batch.sha256, False)
    assert waiting(engine) == []
    assert written(engine, house, batch.number, folder) == removed
    for _ in range(2):
        assert request_file(engine, batch.number, MAKER, LATER + timedelta(hours=1)).awaits_file
    assert waiting(engine) == [batch.number]
    again = written(engine, house, batch.number, folder, 2)
    assert again == reserve.get(engine, batch.number, MAKER)
    assert (again.file_removed_at, waiting(engine)) == (None, [])
    assert content(folder, batch) == original
    assert retention.remove_files(engine, signer, folder, DAYS, LATER + timedelta(days=DAYS)) == 0
    assert retention.remove_files(engine, signer, folder, DAYS, LATER + timedelta(days=DAYS + 1)) == 1
    with transaction(engine) as connection:
        log = connection.execute(select(audit.c.action, audit.c.actor).order_by(audit.c.id)).all()
    assert [tuple(row) for row in log[3:]] == [
        ("batch.file-remove", "service:retention"),
        ("batch.file-request", MAKER.name),
        ("batch.file-write", "service:issuing"),
        ("batch.file-remove", "service:retention"),
    ]


def test_the_operator_gets_a_removed_file_at_once(engine: Engine, house: KeyHouse, folder: CodeFolder) -> None:
    """`zpcode batches export`."""
    batch = issued(engine, house, folder)
    original = content(folder, batch)
    retention.remove_files(engine, house.client(), folder, DAYS, LATER)
    reissue(engine, house.client(), batch.number, folder=folder, clock=lambda: LATER, actor=OPERATOR.name)
    assert content(folder, batch) == original
    assert reserve.get(engine, batch.number, MAKER).file_removed_at is None


def test_a_request_says_what_it_waits_for(engine: Engine, house: KeyHouse, folder: CodeFolder, tmp_path: Path) -> None:
    """Without a signer, as when a batch is issued."""
    batch = issued(engine, house, folder)
    retention.remove_files(engine, house.client(), folder, DAYS, LATER)
    request_file(engine, batch.number, MAKER, LATER)
    absent = setting.KeyHouse(house.room, tmp_path / "nobody").client()
    with pytest.raises(SignerUnavailable):
        issue(engine, absent, batch.number, folder=folder, clock=lambda: LATER)
    assert request_file(engine, batch.number, MAKER, LATER).problem is not None
    assert written(engine, house, batch.number, folder).problem is None


def test_an_enterprise_requests_few_files_at_once(engine: Engine, house: KeyHouse, folder: CodeFolder) -> None:
    """One more than that is refused until one is written; another enterprise is not held up."""
    made = [issued(engine, house, folder, f"key-{step}", Level.COMPACT) for step in range(REQUESTS_AT_ONCE + 1)]
    retention.remove_files(engine, house.client(), folder, DAYS, LATER)
    *first, last = (batch.number for batch in made)
    for number in first:
        request_file(engine, number, MAKER, LATER)
    with pytest.raises(Conflict) as refusal:
        request_file(engine, last, MAKER, LATER)
    assert refusal.value.findings[0].reason == "file_requests"
    written(engine, house, first[0], folder)
    assert request_file(engine, last, MAKER, LATER).awaits_file


def test_a_crash_between_deletion_and_record_leaves_nothing_behind(
    engine: Engine, house: KeyHouse, folder: CodeFolder
) -> None:
    """The file is gone, the record says it is there: it is due again, and then recorded."""
    batch = issued(engine, house, folder)
    folder.finished(batch).unlink()
    assert retention.remove_files(engine, house.client(), folder, DAYS, LATER) == 1
    assert reserve.get(engine, batch.number, MAKER).file_removed_at == LATER


def test_a_folder_that_is_not_there_has_no_file_removed(engine: Engine, house: KeyHouse, folder: CodeFolder) -> None:
    """An unmounted disk keeps its files: they must not be taken for removed."""
    batch = issued(engine, house, folder)
    folder.path.rename(folder.path.with_name("unmounted"))
    with pytest.raises(Unavailable):
        retention.remove_files(engine, house.client(), folder, DAYS, LATER)
    assert reserve.get(engine, batch.number, MAKER).file_removed_at is None


def test_without_the_signer_nothing_sealed_is_removed(
    engine: Engine, house: KeyHouse, folder: CodeFolder, tmp_path: Path
) -> None:
    """Whether it could be written again is not known then."""
    batch = issued(engine, house, folder)
    with pytest.raises(Unavailable):
        retention.remove_files(engine, setting.KeyHouse(house.room, tmp_path).client(), folder, DAYS, LATER)
    assert folder.finished(batch).exists()
