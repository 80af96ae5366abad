"""Signatures that cannot be repeated are kept; before a key is retired, what it could not sign again is kept."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from keys import ceremony
from keys.client import SignerClient, SigningService
from keys.keyring import SealVerdict
from keys.signer import SCHEMES, generated, open_key
from tests.support import issuing_setting as setting
from tests.support.code_folders import code_folder, content
from tests.support.issuing_fixtures import registered
from tests.support.issuing_setting import MAKER, NOW, OPERATOR, WORD, KeyHouse
from tests.support.patience import eventually
from tests.support.random_signer import RandomKey, use_random_keys
from zpcode.embedded.servers import ServerAddresses
from zpcode.errors import KeyringError, LostFile, SignerError, SignerUnavailable
from zpcode.rules.batches.batch import Batch, BatchState
from zpcode.services.batches import code_file, reserve, retention, signatures
from zpcode.services.batches.archive import ArchiveReport, KeyArchive
from zpcode.services.batches.code_folder import CodeFolder
from zpcode.services.batches.encrypted_file import DecryptedFile
from zpcode.services.batches.file_cipher import HEADER_BYTES, Content, FileCipher, FileHeader
from zpcode.services.batches.issue import issue
from zpcode.services.batches.rewrite import reissue
from zpcode.services.batches.unfinished_file import Parts
from zpcode.store.database.session import connect
from zpcode.wire.payload import Level

__all__ = ["registered"]

RANDOM = "tests.support.random_signer"


@pytest.fixture(scope="module")
def random_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyHouse]:
    """A running signer whose key never signs the same message the same way."""
    house = setting.key_house(tmp_path_factory.mktemp("kr"))
    use_random_keys(house.room.keys_dir)
    with house.signer(module=RANDOM):
        yield house


@pytest.fixture
def folder(tmp_path: Path) -> CodeFolder:
    return code_folder(tmp_path / "exports")


@pytest.fixture
def nobody(tmp_path: Path) -> SignerClient:
    """A signer that does not answer."""
    return SignerClient(tmp_path / "nobody")


_keys = (f"order-{number}" for number in itertools.count())


def issued(engine: Engine, signer: SignerClient, folder: CodeFolder, **changes: object) -> Batch:
    """A new batch, issued."""
    number = setting.reserved(engine, next(_keys), MAKER, **changes)
    return issue(engine, signer, number, folder=folder, clock=lambda: NOW)


def again(engine: Engine, signer: SignerClient, batch: Batch, folder: CodeFolder) -> bytes:
    """The content of a batch's file, written again if it is missing."""
    reissue(engine, signer, batch.number, folder=folder, clock=lambda: NOW)
    return content(folder, batch)


@pytest.mark.parametrize(("level", "lot"), [(Level.ITEM, "L1"), (Level.LOT, "L1"), (Level.PRODUCT, "")])
def test_a_file_with_random_signatures_is_written_again_without_the_signer(
    engine: Engine, random_house: KeyHouse, folder: CodeFolder, nobody: SignerClient, level: Level, lot: str
) -> None:
    """The same to the byte: 64 bytes of each code are kept, and their digest is recorded."""
    assert not random_house.client().describe(random_house.client().active_key()).repeats
    batch = issued(engine, random_house.client(), folder, level=level, lot=lot, quantity=code_file.CHUNK + 77)
    original = content(folder, batch)
    assert signatures.digest(batch, folder) == batch.signatures_sha256
    assert random_house.keyring.verify(setting.last_code(folder, batch)) is SealVerdict.VALID
    with folder.open(batch, folder.signatures(batch), Content.SIGNATURES) as file:
        assert len(file.read()) == 64 * batch.codes
    folder.finished(batch).unlink()
    assert again(engine, nobody, batch, folder) == original


def test_no_random_signature_is_made_twice(engine: Engine, random_house: KeyHouse, folder: CodeFolder) -> None:
    """Stopped while the signatures were kept, and again while the file was written, with a file of other signatures left."""
    number = setting.reserved(engine, quantity=3 * code_file.CHUNK)
    stop = threading.Event()
    stop.set()
    signer = random_house.client()
    stopped = issue(engine, signer, number, folder=folder, clock=lambda: NOW, stop=stop)
    assert stopped.state is BatchState.RESERVED
    part = folder.signatures(stopped).with_name(f"{folder.signatures(stopped).name}.part")
    kept = part.read_bytes()
    assert len(kept) > 64 * code_file.CHUNK
    batch = issue(engine, signer, number, folder=folder, clock=lambda: NOW)
    with folder.open(batch, folder.signatures(batch), Content.SIGNATURES) as file:
        every = file.read()
    assert folder.signatures(batch).read_bytes()[:HEADER_BYTES] == kept[:HEADER_BYTES]
    assert len(every) == 64 * batch.codes
    assert code_file.rebuilt_digest(batch, folder) == batch.sha256


def test_signatures_on_disk_are_not_made_again_after_a_kill(
    engine: Engine, addresses: ServerAddresses, random_house: KeyHouse, folder: CodeFolder
) -> None:
    """Killed while the third part was signed: the first two stay as they are, and the file is made from them."""
    number = setting.reserved(engine, quantity=4 * code_file.CHUNK + 5)
    program = f"import sys; from {__name__} import issue_until_killed; issue_until_killed(*sys.argv[1:])"
    arguments = [addresses.database, str(random_house.socket), str(number), str(folder.path)]
    killed = subprocess.run([sys.executable, "-c", program, *arguments], check=False)
    assert killed.returncode == -signal.SIGKILL
    waiting = reserve.get(engine, number, MAKER)
    part = folder.signatures(waiting).with_name(f"{folder.signatures(waiting).name}.part")
    with part.open("rb") as file:
        header = FileHeader.parse(file.read(HEADER_BYTES))
        assert header is not None
        cipher = FileCipher.of(folder.keys().current, header)
        before = DecryptedFile(file, cipher, complete=False).readall()
    assert before
    assert len(before) >= 2 * 64 * code_file.CHUNK
    batch = issue(engine, random_house.client(), number, folder=folder, clock=lambda: NOW)
    with folder.open(batch, folder.signatures(batch), Content.SIGNATURES) as kept:
        assert kept.read()[: len(before)] == before
    assert code_file.rebuilt_digest(batch, folder) == batch.sha256
    assert content(folder, batch).count(f"/{batch.key_id}".encode()) == batch.codes


def issue_until_killed(database: str, socket: str, number: str, path: str) -> None:
    """Issue a batch in a process that is killed while the third part is signed."""
    sign = signatures.from_signer

    def dying(batch: Batch, signer: SigningService, first: int, chunk: int) -> Parts:
        for count, part in enumerate(sign(batch, signer, first, chunk)):
            if count == 2:
                signal.raise_signal(signal.SIGKILL)
            yield part

    setattr(signatures, "from_signer", dying)  # noqa: B010 - a function everywhere but here
    engine = connect(database, pool_size=1)
    issue(engine, SignerClient(Path(socket), 60), int(number), folder=code_folder(Path(path)), clock=lambda: NOW)


def test_what_cannot_be_made_again_is_not_touched(engine: Engine, random_house: KeyHouse, folder: CodeFolder) -> None:
    """The kept signatures are lost and the file is damaged: the error says so, and what is left of the file stays."""
    batch = issued(engine, random_house.client(), folder)
    folder.signatures(batch).unlink()
    damaged = folder.finished(batch).read_bytes()[:-1]
    folder.finished(batch).write_bytes(damaged)
    with pytest.raises(LostFile, match="does not repeat signatures"):
        again(engine, random_house.client(), batch, folder)
    assert folder.finished(batch).read_bytes() == damaged


def test_a_key_that_says_it_repeats_and_does_not_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The signer signs its challenge twice before it uses a key."""
    private = generated()
    for repeats in (False, True):
        key = RandomKey(private)
        key.deterministic = repeats
        monkeypatch.setitem(SCHEMES, "random", lambda *_, key=key: key)
        if repeats:
            with pytest.raises(KeyringError, match="differently each time"):
                open_key("random:it", WORD, private.public)
        else:
            assert open_key("random:it", WORD, private.public) is key


def test_a_key_in_a_file_repeats(tmp_path: Path) -> None:
    house = setting.key_house(tmp_path / "kf")
    with house.signer() as signer:
        key = signer.describe(signer.active_key())
    assert key.repeats
    assert timedelta(days=300) < key.until - datetime.now(UTC) < timedelta(days=366)


def _archived(engine: Engine, signer: SignerClient, folder: CodeFolder, key_id: str) -> ArchiveReport:
    return KeyArchive(engine, signer, folder, OPERATOR.name, NOW).archive(key_id)


def test_after_the_archive_a_retired_key_is_not_needed(
    engine: Engine, tmp_path: Path, folder: CodeFolder, nobody: SignerClient
) -> None:
    """Also for a file that was removed before. Without the archive it would be lost."""
    house = setting.key_house(tmp_path / "own")
    with house.signer() as signer:
        first, second = (issued(engine, signer, folder, quantity=quantity) for quantity in (100, code_file.CHUNK + 9))
        originals = [content(folder, batch) for batch in (first, second)]
        assert retention.remove_files(engine, signer, folder, 1, NOW + timedelta(days=2)) == 2
        waiting = setting.reserved(engine, "waiting", quantity=2 * code_file.CHUNK)
        issue(engine, signer, waiting, folder=folder, clock=lambda: NOW, stop=_set())
        setting.rotate_key(house)
        key_id = first.key_id
        report = _archived(engine, signer, folder, key_id)
        assert (report.archived, report.unfinished) == ([first.number, second.number], [waiting])
        assert not report.complete
        issue(engine, signer, waiting, folder=folder, clock=lambda: NOW)
        report = _archived(engine, signer, folder, key_id)
        assert (report.archived, report.complete) == ([first.number, second.number, waiting], True)
        assert reserve.get(engine, first.number, MAKER).signatures_sha256 == signatures.digest(first, folder)
        ceremony.retire(house.room, key_id, statement=None, root_passphrase=WORD, now=datetime.now(UTC))
        eventually(lambda: _refuses(signer, key_id))
        assert [again(engine, signer, batch, folder) for batch in (first, second)] == originals
    folder.finished(first).unlink()
    assert again(engine, nobody, first, folder) == originals[0]
    assert _archived(engine, nobody, folder, key_id).complete


def _set() -> threading.Event:
    stop = threading.Event()
    stop.set()
    return stop


def _refuses(signer: SignerClient, key_id: str) -> bool:
    """Whether each process of the signer has read the keyring."""
    for _ in range(20):
        try:
            signer.describe(key_id)
        except SignerUnavailable:
            raise
        except SignerError:
            continue
        return False
    return True


def test_a_file_whose_key_is_retired_without_an_archive_is_never_removed(
    engine: Engine, tmp_path: Path, folder: CodeFolder
) -> None:
    """It could not be written again. A later archive counts it as kept; once it is lost, the archive says so."""
    house = setting.key_house(tmp_path / "own")
    with house.signer() as signer:
        batch = issued(engine, signer, folder)
        compact = issued(engine, signer, folder, level=Level.COMPACT)
        setting.rotate_key(house)
        ceremony.retire(house.room, batch.key_id, statement=None, root_passphrase=WORD, now=datetime.now(UTC))
        eventually(lambda: _refuses(signer, batch.key_id))
        assert retention.remove_files(engine, signer, folder, 1, NOW + timedelta(days=2)) == 1
        assert not folder.finished(compact).exists()
        assert folder.finished(batch).exists()
        assert _archived(engine, signer, folder, batch.key_id).as_files == [batch.number]
        folder.finished(batch).unlink()
        assert list(_archived(engine, signer, folder, batch.key_id).refused) == [batch.number]


def test_signatures_are_kept_before_a_key_ends_by_itself(
    engine: Engine, tmp_path: Path, folder: CodeFolder, nobody: SignerClient
) -> None:
    """Thirty days before its last day, for each removed file; nobody has to remember it."""
    house = setting.key_house(tmp_path / "own")
    with house.signer() as signer:
        batch = issued(engine, signer, folder)
        original = content(folder, batch)
        until = signer.describe(batch.key_id).until
        retention.remove_files(engine, signer, folder, 1, NOW + timedelta(days=2))
        assert retention.archive_ending(engine, signer, folder, until - timedelta(days=31)) == 0
        assert retention.archive_ending(engine, signer, folder, until - timedelta(days=29)) == 1
        assert retention.archive_ending(engine, signer, folder, until - timedelta(days=29)) == 0
        issued(engine, signer, folder)
        retention.remove_files(engine, signer, folder, 1, NOW + timedelta(days=2))
        ending = until - timedelta(days=29)
        assert retention.archive_ending(engine, signer, folder, ending) == 1, "what is kept is not read again"
    assert again(engine, nobody, batch, folder) == original
