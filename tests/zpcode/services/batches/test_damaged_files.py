"""A damaged file stays until what replaces it is written and verified."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from sqlalchemy import Engine

from keys.client import SignerClient
from tests.support import issuing_setting as setting
from tests.support.code_folders import code_folder, content
from tests.support.issuing_fixtures import house, registered
from tests.support.issuing_setting import NOW, KeyHouse
from zpcode.errors import LostFile, SignerUnavailable
from zpcode.rules.batches.batch import Batch
from zpcode.services.batches import code_file
from zpcode.services.batches.code_folder import CodeFolder
from zpcode.services.batches.issue import issue
from zpcode.services.batches.rewrite import reissue, write_awaited
from zpcode.services.batches.unfinished_file import replacing
from zpcode.store import batches
from zpcode.store.database.session import transaction

__all__ = ["house", "registered"]


@pytest.fixture
def folder(tmp_path: Path) -> CodeFolder:
    """A folder of code files."""
    return code_folder(tmp_path / "exports")


@pytest.fixture
def batch(engine: Engine, house: KeyHouse, folder: CodeFolder) -> Batch:
    """An issued batch of several chunks whose file is damaged in its middle."""
    number = setting.reserved(engine, quantity=3 * code_file.CHUNK)
    made = issue(engine, house.client(), number, folder=folder, clock=lambda: NOW)
    path = folder.finished(made)
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    return made


def names(folder: CodeFolder) -> list[str]:
    """What is in the folder, without unfinished files."""
    return sorted(path.name for path in folder.path.iterdir() if path.suffix != ".part")


def test_a_signer_that_does_not_answer_costs_no_byte_of_a_damaged_file(
    engine: Engine, batch: Batch, folder: CodeFolder, tmp_path: Path
) -> None:
    path = folder.finished(batch)
    damaged = path.read_bytes()
    with pytest.raises(SignerUnavailable):
        reissue(engine, SignerClient(tmp_path / "nobody"), batch.number, folder=folder, clock=lambda: NOW)
    assert path.read_bytes() == damaged
    assert names(folder) == [path.name]


def test_a_writing_that_was_stopped_costs_no_byte_either_and_the_next_one_goes_on(
    engine: Engine, batch: Batch, house: KeyHouse, folder: CodeFolder
) -> None:
    path, stop = folder.finished(batch), threading.Event()
    damaged = path.read_bytes()
    stop.set()
    with house.client() as signer:
        assert write_awaited(engine, signer, batch, folder, lambda: NOW, stop) == batch
        assert path.read_bytes() == damaged
        reissue(engine, signer, batch.number, folder=folder, clock=lambda: NOW)
    assert code_file.verify(batch, folder)
    assert names(folder) == [path.name]


def test_what_has_another_digest_replaces_nothing(
    engine: Engine, batch: Batch, house: KeyHouse, folder: CodeFolder
) -> None:
    path = folder.finished(batch)
    damaged = path.read_bytes()
    with transaction(engine) as connection:
        batches.change(connection, batch.number, sha256="0" * 64)
    with pytest.raises(LostFile, match="another digest"):
        reissue(engine, house.client(), batch.number, folder=folder, clock=lambda: NOW)
    assert path.read_bytes() == damaged
    assert names(folder) == [path.name]


def test_what_a_crash_left_aside_goes_once_its_replacement_is_verified(
    engine: Engine, batch: Batch, house: KeyHouse, folder: CodeFolder
) -> None:
    """Until then it stays under its other name."""
    path = folder.finished(batch)
    aside = path.rename(path.with_name(f"{path.name}.damaged-1"))
    with house.client() as signer:
        reissue(engine, signer, batch.number, folder=folder, clock=lambda: NOW)
    assert not aside.exists()
    assert content(folder, batch).startswith(b"url,")


def test_a_file_aside_is_never_overwritten_by_another_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("second")
    former = path.with_name(f"file.damaged-{path.stat().st_mtime_ns}")
    former.write_text("first")
    with replacing(path):
        assert sorted(one.read_text() for one in tmp_path.iterdir()) == ["first", "second"]
    assert (path.read_text(), former.read_text()) == ("second", "first")
