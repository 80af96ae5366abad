"""Files left by a crash, and keys that change half way: the finished file is the same, byte for byte.

Workers that are killed outright are in `test_kill_worker`.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import Engine

from keys.keyring import SealVerdict
from tests.support import issuing_setting as setting
from tests.support.code_folders import code_folder, content
from tests.support.issuing_fixtures import house
from tests.support.issuing_setting import MAKER, NOW, KeyHouse
from tests.support.patience import eventually
from zpcode.errors import SignerError, SignerUnavailable
from zpcode.rules.batches.batch import Batch, BatchState
from zpcode.services.batches import code_file, reserve
from zpcode.services.batches.file_cipher import HEADER_BYTES
from zpcode.services.batches.issue import issue
from zpcode.services.batches.unfinished_file import CodeFile
from zpcode.store import batches as store
from zpcode.store.database.session import transaction

__all__ = ["house"]

pytestmark = pytest.mark.proof


@pytest.fixture(autouse=True)
def _registered(engine: Engine, house: KeyHouse) -> None:
    setting.register(engine, setting.product_card())
    setting.continue_after(engine, house)


def _finish(engine: Engine, house: KeyHouse, directory: Path, number: int) -> Batch:
    """Issue the batch completely."""
    with house.client() as signer:
        return issue(engine, signer, number, folder=code_folder(directory), clock=lambda: NOW)


def _in_one_go(batch: Batch, house: KeyHouse, directory: Path) -> CodeFile:
    with house.client() as signer:
        file = code_file.produce(batch, signer, code_folder(directory))
    assert file is not None
    return file


@pytest.fixture
def whole(engine: Engine, house: KeyHouse, tmp_path: Path) -> tuple[Batch, bytes]:
    """An issued batch of three and a half chunks, and its file as it is on disk."""
    number = setting.reserved(engine, quantity=3 * code_file.CHUNK + code_file.CHUNK // 2)
    batch = _finish(engine, house, tmp_path, number)
    return batch, code_folder(tmp_path).finished(batch).read_bytes()


@pytest.mark.parametrize(
    "damage",
    ["empty", "half a header", "zeros for a header", "header", "half a chunk", "one byte short", "a bit in the middle",
     "zeros at the beginning", "zeros in the middle", "zeros at the end", "longer"],
)  # fmt: skip
def test_files_left_by_a_crash_are_found_and_written_again(
    house: KeyHouse, tmp_path: Path, whole: tuple[Batch, bytes], damage: str
) -> None:
    """Blocks that were not written read as zeros; the file may be too short or too long. The header was on disk before."""
    batch, good = whole
    middle = len(good) // 2
    left = {
        "empty": b"",
        "half a header": good[:9],
        "zeros for a header": bytes(HEADER_BYTES),
        "header": good[:HEADER_BYTES],
        "half a chunk": good[: HEADER_BYTES + 100],
        "one byte short": good[:-1],
        "a bit in the middle": good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :],
        "zeros at the beginning": good[:HEADER_BYTES] + bytes(middle) + good[HEADER_BYTES + middle :],
        "zeros in the middle": good[:middle] + bytes(4096) + good[middle + 4096 :],
        "zeros at the end": good[:-5000] + bytes(5000),
        "longer": good + good[-1000:],
    }[damage]
    folder = code_folder(tmp_path)
    original = content(folder, batch)
    folder.finished(batch).unlink()
    folder.unfinished(batch).write_bytes(left)
    file = _in_one_go(batch, house, tmp_path)
    assert content(folder, batch) == original
    assert file.sha256 == batch.sha256


def test_a_complete_file_that_was_never_noted_is_checked_and_noted(
    engine: Engine, house: KeyHouse, tmp_path: Path
) -> None:
    """Killed between the renaming and the commit: no code is signed again, and the hash is the file's hash."""
    number = setting.reserved(engine, quantity=code_file.CHUNK + 1)
    with house.client() as signer:
        batch = reserve.get(engine, number, MAKER)
        key_id = signer.active_key()
    with transaction(engine) as connection:
        store.change(connection, number, key_id=key_id)
    batch = reserve.get(engine, number, MAKER)
    file = _in_one_go(batch, house, tmp_path)
    with house.client() as signer:  # it is asked only whether the key may still sign
        signed = list(signer.read_log())
        issued = issue(engine, signer, number, folder=code_folder(tmp_path), clock=lambda: NOW)
        assert list(signer.read_log()) == signed
    assert (issued.state, issued.sha256) == (BatchState.ISSUED, file.sha256)


def test_a_signer_that_dies_half_way_costs_nothing(engine: Engine, tmp_path: Path) -> None:
    """Written codes stay, the batch shows why it waits and goes on with the next signer."""
    house = setting.key_house(tmp_path / "own")
    number = setting.reserved(engine, quantity=12 * code_file.CHUNK)
    with house.signer() as signer:
        process = next(_running_signer(house))

        def end_signer(done: int) -> None:
            if done == 2 * code_file.CHUNK:
                os.kill(process, signal.SIGTERM)

        with pytest.raises(SignerUnavailable):
            issue(engine, signer, number, folder=code_folder(tmp_path), clock=lambda: NOW, progress=end_signer)
    waiting = reserve.get(engine, number, MAKER)
    assert waiting.problem is not None
    written = code_file.progress(code_folder(tmp_path), waiting)
    assert 2 * code_file.CHUNK <= written < waiting.quantity
    progress: list[int] = []
    with house.signer() as signer:
        batch = issue(engine, signer, number, folder=code_folder(tmp_path), clock=lambda: NOW, progress=progress.append)
    assert batch.state is BatchState.ISSUED
    assert progress[0] == written + code_file.CHUNK, "it did not go on where it was"


def _running_signer(house: KeyHouse) -> Iterator[int]:
    """The process id of this key room's signer."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                environment = (entry / "environ").read_bytes()
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            if f"ZPCODE_SIGNER_SOCKET={house.socket}".encode() in environment and parent == os.getpid():
                yield int(entry.name)


def test_a_rotation_half_way_loses_no_batch(engine: Engine, tmp_path: Path) -> None:
    """The batch goes on with its first key; the next batch has the new key."""
    house = setting.key_house(tmp_path / "own")
    with house.signer() as signer:
        began = signer.active_key()
        number = setting.reserved(engine, quantity=6 * code_file.CHUNK)

        def rotate(done: int) -> None:
            if done == 2 * code_file.CHUNK:
                setting.rotate_key(house)

        batch = issue(engine, signer, number, folder=code_folder(tmp_path), clock=lambda: NOW, progress=rotate)
        follows = issue(
            engine, signer, setting.reserved(engine, "next"), folder=code_folder(tmp_path), clock=lambda: NOW
        )
    assert batch.key_id == began
    assert follows.key_id != began
    assert house.keyring.verify(setting.last_code(code_folder(tmp_path), batch)) is SealVerdict.VALID


def test_a_key_revoked_half_way_leaves_no_code_of_it_in_the_file(engine: Engine, tmp_path: Path) -> None:
    """No code was delivered, so all are signed again with the key that is active now."""
    house = setting.key_house(tmp_path / "own")
    with house.signer() as signer:
        began = signer.active_key()
        number = setting.reserved(engine, quantity=20 * code_file.CHUNK)

        def revoke(done: int) -> None:
            if done == 2 * code_file.CHUNK and signer.active_key() == began:
                setting.rotate_key(house)
                setting.revoke_key(house, began)
                while any(signer.active_key() == began for _ in range(20)):
                    time.sleep(0.02)  # each process of the signer reads the keyring itself

        def tried() -> Batch | None:
            try:
                return issue(engine, signer, number, folder=code_folder(tmp_path), clock=lambda: NOW, progress=revoke)
            except SignerError:  # a chunk was being signed during the revocation; a worker tries again
                return None

        batch = eventually(tried)
    data = content(code_folder(tmp_path), batch)
    assert batch.key_id != began
    assert f"/{began}".encode() not in data
    assert data.count(f"/{batch.key_id}".encode()) == batch.quantity
    assert house.keyring.verify(setting.last_code(code_folder(tmp_path), batch)) is SealVerdict.VALID


def test_without_any_key_that_may_sign_the_batch_waits(engine: Engine, tmp_path: Path) -> None:
    """The batch shows the signer's message."""
    house = setting.key_house(tmp_path / "own")
    with house.signer() as signer:
        number = setting.reserved(engine)
        setting.revoke_key(house, signer.active_key())
        _wait_until_no_key_is_active(house)
        with pytest.raises(SignerError):
            _finish(engine, house, tmp_path, number)
    assert reserve.get(engine, number, MAKER).problem is not None


def _wait_until_no_key_is_active(house: KeyHouse) -> None:
    """Wait until each process of the signer has read the keyring."""
    with house.client() as signer, suppress(SignerError):
        for _ in range(200):
            signer.active_key()
            time.sleep(0.02)
        raise AssertionError("the signer did not notice")
