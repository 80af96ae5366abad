"""Whose file it is: a file of another batch, under another key or of other content is never overwritten."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine

from keys.keyring import SealVerdict
from tests.support import issuing_setting as setting
from tests.support.code_folders import code_folder, content
from tests.support.databases import as_owner
from tests.support.issuing_fixtures import house, issue_at_once, registered
from tests.support.issuing_setting import MAKER, NOW, KeyHouse
from zpcode.errors import ForeignFile, Unavailable
from zpcode.rules.batches.batch import Batch, BatchState
from zpcode.services.batches import file_keys, ownership, reserve
from zpcode.services.batches.file_cipher import HEADER_BYTES, Content, FileCipher, FileLabel
from zpcode.services.batches.rewrite import reissue
from zpcode.store import batches as store

__all__ = ["house", "registered"]


def _numbered_again(engine: Engine, number: int, **changes: object) -> Batch:
    """The batch that gets a number again after a restore: reserved, with other secret keys unless `changes` has them."""
    values = {"permutation_key": b"other slots here", "check_key": b"other check here", "key_id": ""} | changes
    with as_owner(engine) as connection:
        store.change(connection, number, state="reserved", sha256="", bytes=0, activated_at=None, **values)
    return reserve.get(engine, number, MAKER)


@pytest.mark.parametrize("ending", ["", ".part"])
@pytest.mark.parametrize("file", ["another batch", "another product", "not encrypted", "a note", "a damaged header"])
def test_a_file_of_other_content_is_never_overwritten(
    engine: Engine, house: KeyHouse, tmp_path: Path, file: str, ending: str
) -> None:
    """Issue, restore the database, order again: the number is given again. The batch waits, the file stays."""
    first, folder = issue_at_once(engine, house, setting.reserved(engine), tmp_path), code_folder(tmp_path)
    raw = folder.finished(first).read_bytes()
    earlier = {
        "another batch": raw,
        "another product": raw.replace(b"zpcodes", b"zqcodes"),
        "not encrypted": content(folder, first),
        "a note": b"the delivery note of batch 13\n",
        "a damaged header": raw[:60] + bytes([raw[60] ^ 1]) + raw[61:],
    }[file]
    same = {} if file == "another batch" else {"permutation_key": first.permutation_key, "check_key": first.check_key}
    again = _numbered_again(engine, first.number, **same)
    folder.finished(first).unlink()
    path = Path(f"{folder.finished(first)}{ending}")
    path.write_bytes(earlier)
    with pytest.raises(ForeignFile, match=re.escape(f"{folder.finished(first)}")) as refusal:
        issue_at_once(engine, house, again.number, tmp_path)
    waiting = reserve.get(engine, again.number, MAKER)
    assert (waiting.state, waiting.problem) == (BatchState.RESERVED, refusal.value.text)
    assert path.read_bytes() == earlier
    path.rename(tmp_path / "set aside")
    assert issue_at_once(engine, house, again.number, tmp_path).state is BatchState.ISSUED


def test_a_delivered_file_under_another_key_is_not_overwritten(engine: Engine, house: KeyHouse, tmp_path: Path) -> None:
    """The database was restored to before the batch began, and the key has been rotated: the codes would differ."""
    own = setting.key_house(tmp_path / "own")
    with own.signer():
        first = issue_at_once(engine, own, setting.reserved(engine), tmp_path)
    delivered = content(code_folder(tmp_path), first)
    keys = {"permutation_key": first.permutation_key, "check_key": first.check_key}
    again = _numbered_again(engine, first.number, **keys)
    with pytest.raises(ForeignFile):
        issue_at_once(engine, house, again.number, tmp_path)
    assert content(code_folder(tmp_path), first) == delivered


def test_a_delivered_file_under_the_same_key_is_issued_as_it_is(
    engine: Engine, house: KeyHouse, tmp_path: Path
) -> None:
    """The database was restored to before the batch began: the same codes are recorded again."""
    first = issue_at_once(engine, house, setting.reserved(engine), tmp_path)
    path = code_folder(tmp_path).finished(first)
    salted = path.read_bytes()[:HEADER_BYTES]
    again = _numbered_again(engine, first.number, permutation_key=first.permutation_key, check_key=first.check_key)
    assert issue_at_once(engine, house, again.number, tmp_path).sha256 == first.sha256
    assert path.read_bytes()[:HEADER_BYTES] == salted, "the file was begun again"


def test_a_file_that_was_complete_before_its_key_was_revoked_is_not_issued(engine: Engine, tmp_path: Path) -> None:
    """The process ended before the batch was recorded. Nobody knows whether the file was delivered, so it stays."""
    own = setting.key_house(tmp_path / "own")
    with own.signer() as signer:
        first, folder = issue_at_once(engine, own, setting.reserved(engine), tmp_path), code_folder(tmp_path)
        keys = {"permutation_key": first.permutation_key, "check_key": first.check_key, "key_id": first.key_id}
        again = _numbered_again(engine, first.number, **keys)
        setting.rotate_key(own)
        setting.revoke_key(own, first.key_id)
        while any(signer.active_key() == first.key_id for _ in range(20)):
            time.sleep(0.02)  # each process of the signer reads the keyring itself
        for _ in range(2):
            with pytest.raises(ForeignFile):
                issue_at_once(engine, own, again.number, tmp_path)
        folder.finished(first).rename(tmp_path / "set aside")
        issued = issue_at_once(engine, own, again.number, tmp_path)
        assert issued.key_id == signer.active_key()
    assert own.keyring.verify(setting.last_code(folder, issued)) is SealVerdict.VALID


def test_what_was_begun_under_another_signing_key_is_begun_again(tmp_path: Path) -> None:
    """Kept signatures are not compared with the key: those of the key before would be taken for those of the new one."""
    keys, label = code_folder(tmp_path / "exports").keys(), FileLabel(13, bytes(16), "K7QX", Content.SIGNATURES)
    path = tmp_path / "batch-13.signatures.part"
    path.write_bytes(FileCipher.fresh(keys.current, label).header)
    with path.open("r+b") as file:
        assert ownership.continued(file, path, label, keys) is not None
        file.seek(0)
        assert ownership.continued(file, path, replace(label, signing_key="AAAA"), keys) is None


def test_a_link_in_the_place_of_an_unfinished_file_is_not_followed(
    engine: Engine, house: KeyHouse, tmp_path: Path
) -> None:
    """Who may write into the folder could otherwise have any file of the service's user overwritten."""
    number, folder = setting.reserved(engine), code_folder(tmp_path / "exports")
    folder.make()
    other = tmp_path / "other"
    other.write_bytes(b"")
    folder.unfinished(reserve.get(engine, number, MAKER)).symlink_to(other)
    with pytest.raises(ForeignFile):
        issue_at_once(engine, house, number, folder.path)
    assert other.read_bytes() == b""


def test_a_finished_file_of_other_content_is_not_replaced_by_an_unfinished_one(
    engine: Engine, house: KeyHouse, tmp_path: Path
) -> None:
    """Both names may exist."""
    first, folder = issue_at_once(engine, house, setting.reserved(engine), tmp_path), code_folder(tmp_path)
    earlier = content(folder, first)
    again = _numbered_again(engine, first.number)
    folder.unfinished(again).write_bytes(b"")
    with pytest.raises(ForeignFile):
        issue_at_once(engine, house, again.number, tmp_path)
    assert content(folder, first) == earlier


def test_a_lost_file_does_not_come_back_over_one_of_other_content(
    engine: Engine, house: KeyHouse, tmp_path: Path
) -> None:
    """`zpcode batches export` refuses as issuing does."""
    first = issue_at_once(engine, house, setting.reserved(engine), tmp_path)
    second, folder = issue_at_once(engine, house, setting.reserved(engine, "key-2"), tmp_path), code_folder(tmp_path)
    other = folder.finished(first).read_bytes()
    folder.finished(second).write_bytes(other)
    with pytest.raises(ForeignFile):
        reissue(engine, house.client(), second.number, folder=folder, clock=lambda: NOW)
    assert folder.finished(second).read_bytes() == other


def test_without_its_file_key_a_file_is_written_again(engine: Engine, house: KeyHouse, tmp_path: Path) -> None:
    """A lost file key costs time only: the codes are signed again, and the file has the same bytes."""
    batch, folder = issue_at_once(engine, house, setting.reserved(engine), tmp_path), code_folder(tmp_path)
    original = content(folder, batch)
    folder.key_file.unlink()
    with pytest.raises(Unavailable, match=re.escape(str(folder.key_file))):
        folder.open(batch)
    file_keys.create(folder.key_file)
    with pytest.raises(Unavailable, match="not in"):
        folder.open(batch)
    reissue(engine, house.client(), batch.number, folder=folder, clock=lambda: NOW)
    assert content(folder, batch) == original
