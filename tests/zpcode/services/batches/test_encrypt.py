"""The keys of the code files: made once, changed, and all files brought to the current one."""

from __future__ import annotations

import base64
import os
import threading
from pathlib import Path

import pytest
from sqlalchemy import Engine

from keys.client import SignerClient
from tests.support import issuing_setting as setting
from tests.support.code_folders import code_folder, content, put_content
from tests.support.issuing_setting import NOW
from tests.support.strange_files import put
from zpcode.errors import Unavailable
from zpcode.rules.batches.batch import Batch
from zpcode.services.batches import code_file, file_keys
from zpcode.services.batches.code_folder import CodeFolder
from zpcode.services.batches.encrypt import encrypt_all
from zpcode.services.batches.file_cipher import HEADER_BYTES, FileHeader
from zpcode.services.batches.issue import issue
from zpcode.store import batches
from zpcode.wire.payload import Level


@pytest.fixture
def folder(tmp_path: Path) -> CodeFolder:
    return code_folder(tmp_path / "exports")


def compact(engine: Engine, folder: CodeFolder, key: str) -> Batch:
    """An issued batch, without a signer."""
    number = setting.reserved(engine, key, level=Level.COMPACT)
    client = SignerClient(folder.path / "nobody")
    return issue(engine, client, number, folder=folder, clock=lambda: NOW)


def key_of(folder: CodeFolder, batch: Batch) -> bytes:
    """The id of the key that a file is encrypted with."""
    header = FileHeader.parse(folder.finished(batch).read_bytes()[:HEADER_BYTES])
    assert header is not None
    return header.key_id


def test_all_files_are_brought_to_a_new_key(engine: Engine, folder: CodeFolder) -> None:
    """Until then the old key reads them; afterwards its line can be deleted."""
    setting.register(engine, setting.product_card())
    first, second = compact(engine, folder, "one"), compact(engine, folder, "two")
    before = [content(folder, batch) for batch in (first, second)]
    old = folder.keys().current
    file_keys.add(folder.key_file)
    assert folder.keys().current != old
    assert [content(folder, batch) for batch in (first, second)] == before
    assert encrypt_all(engine, folder).written == 2
    assert encrypt_all(engine, folder).written == 0
    lines = folder.key_file.read_bytes().splitlines(keepends=True)
    folder.key_file.write_bytes(lines[0])
    assert [content(folder, batch) for batch in (first, second)] == before
    assert {key_of(folder, batch) for batch in (first, second)} == {folder.keys().current.id}
    assert folder.path.stat().st_mode & 0o777 == 0o700
    assert {path.name for path in folder.path.iterdir()} == {folder.finished(first).name, folder.finished(second).name}


def test_what_is_no_file_in_the_place_of_one_stays_as_it_is_and_is_named(engine: Engine, folder: CodeFolder) -> None:
    setting.register(engine, setting.product_card())
    batch = compact(engine, folder, "one")
    put("a symbolic link", folder.finished(batch))
    file_keys.add(folder.key_file)
    report = encrypt_all(engine, folder)
    assert "not a regular file" in report.refused[batch.number].en
    assert folder.finished(batch).is_symlink()
    put("a FIFO", folder.finished(batch))
    assert encrypt_all(engine, folder).written == 0


def test_files_without_encryption_are_encrypted(engine: Engine, folder: CodeFolder) -> None:
    """Those of an earlier version; only if the content is the recorded one. The others stay and are named."""
    setting.register(engine, setting.product_card())
    plain, altered, lost = (compact(engine, folder, key) for key in ("one", "two", "three"))
    original = content(folder, plain)
    folder.finished(plain).write_bytes(original)
    folder.finished(altered).write_bytes(original)
    file_keys.add(folder.key_file)
    put_content(CodeFolder(folder.path, folder.key_file), lost, b"not what was issued")
    file_keys.add(folder.key_file)
    report = encrypt_all(engine, folder)
    assert report.written == 1
    assert set(report.refused) == {altered.number, lost.number}
    assert content(folder, plain) == original
    assert folder.finished(altered).read_bytes() == original
    assert folder.finished(plain).stat().st_mode & 0o077 == 0


def test_what_is_being_written_is_named_and_done_by_the_next_run(engine: Engine, folder: CodeFolder) -> None:
    """It gets its key when it is begun. Whoever deletes the old line before it is brought to the new one loses it."""
    setting.register(engine, setting.product_card())
    whole = compact(engine, folder, "one")
    stopped, client = threading.Event(), SignerClient(folder.path / "nobody")
    stopped.set()
    number = setting.reserved(engine, "two", level=Level.COMPACT, quantity=2 * code_file.CHUNK)
    part = issue(engine, client, number, folder=folder, clock=lambda: NOW, stop=stopped)
    file_keys.add(folder.key_file)
    with batches.issuing(engine, whole.number):
        assert set(encrypt_all(engine, folder).refused) == {whole.number, part.number}
    issued = issue(engine, client, number, folder=folder, clock=lambda: NOW)
    report = encrypt_all(engine, folder)
    assert (report.written, report.refused) == (2, {})
    assert {key_of(folder, batch) for batch in (whole, issued)} == {folder.keys().current.id}


def test_a_file_that_is_being_written_again_is_named_too(engine: Engine, folder: CodeFolder) -> None:
    """After its removal. What an interrupted run left is not: nobody needs it."""
    setting.register(engine, setting.product_card())
    batch = compact(engine, folder, "one")
    folder.finished(batch).rename(folder.unfinished(batch))
    file_keys.add(folder.key_file)
    with batches.issuing(engine, batch.number):
        assert set(encrypt_all(engine, folder).refused) == {batch.number}
    assert encrypt_all(engine, folder).refused == {}


@pytest.mark.parametrize("damage", ["missing", "empty", "short", "no Base64", "a stray character", "open to others"])
def test_a_key_file_that_cannot_be_used_says_why(folder: CodeFolder, damage: str) -> None:
    """Nothing is written without a key, and nobody else may have read it."""
    path = folder.key_file
    if damage == "missing":
        path.unlink()
    elif damage == "open to others":
        path.chmod(0o644)
    else:
        text = {
            "empty": b"",
            "short": base64.b64encode(os.urandom(16)),
            "no Base64": b"%" * 44,
            "a stray character": b"*" + base64.b64encode(os.urandom(32)),
        }[damage]
        path.write_bytes(text)
    with pytest.raises(Unavailable, match=str(path)):
        folder.keys()


def test_a_key_file_is_never_replaced(tmp_path: Path) -> None:
    """To make it again changes nothing."""
    path = tmp_path / "secrets" / "files.key"
    assert file_keys.create(path)
    key = path.read_bytes()
    assert not file_keys.create(path)
    assert path.read_bytes() == key
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert key.decode() not in repr(file_keys.load(path))
