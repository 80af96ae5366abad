"""A FIFO, a device, a folder, a socket or a link in the place of a file: its reader gets an error and never waits.

The tests have a limit of seconds: a reader that waits fails by it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from keys.audit_head import SignedHead
from keys.files import locked, read_public, read_secret, replace_file
from keys.keyring import read_root
from keys.log.reader import chunks_of
from keys.log.writer import SigningLog
from keys.sockets.listening import sole_signer
from scanweb.http import pictures
from tests.support.code_folders import code_folder
from tests.support.export_batches import fixed_batch
from tests.support.strange_files import LINK, STRANGE, put
from zpcode.cli import registry
from zpcode.errors import ForeignFile, KeyringError, Refused, SignerError, Unavailable
from zpcode.exports.formats import file_name
from zpcode.regular_files import NotRegular, any_file, new_file, open_own, own_file, read_own
from zpcode.services.audit_heads import HeadFile
from zpcode.services.backups.folder import MANIFEST, BackupFolder, digest, read_manifest
from zpcode.services.batches import ownership, signatures
from zpcode.services.batches.code_folder import label_of
from zpcode.services.batches.file_cipher import Content
from zpcode.services.pictures.storage import PictureStorage
from zpcode.wire.payload import Level

pytestmark = pytest.mark.timeout(20)
PICTURE = f"{'0' * 32}-160.webp"
HEAD = SignedHead(1, bytes(32), 0, "AAAA", bytes(64))
BATCH = fixed_batch(Level.ITEM)


@pytest.mark.parametrize("kind", STRANGE | LINK)
@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_WRONLY | os.O_CREAT, os.O_RDWR | os.O_CREAT])
def test_a_service_opens_nothing_else_in_the_place_of_its_file(tmp_path: Path, kind: str, flags: int) -> None:
    put(kind, tmp_path / "file")
    with pytest.raises(NotRegular):
        open_own(tmp_path / "file", flags)


@pytest.mark.parametrize("kind", STRANGE)
def test_nor_does_a_command_that_a_person_gives_a_path(tmp_path: Path, kind: str) -> None:
    put(kind, tmp_path / "file")
    with pytest.raises(NotRegular):
        any_file(tmp_path / "file")


@pytest.mark.parametrize("kind", LINK)
def test_a_person_may_name_a_link_but_another_service_may_not(tmp_path: Path, kind: str) -> None:
    put(kind, tmp_path / "file")
    with any_file(tmp_path / "file") as file:
        assert file.read()
    with pytest.raises(NotRegular):
        any_file(tmp_path / "file", links=False)


def test_a_new_file_replaces_a_link_and_not_what_it_names(tmp_path: Path) -> None:
    other, link = tmp_path / "other", tmp_path / "file"
    other.write_bytes(b"of somebody else")
    link.symlink_to(other)
    with new_file(link) as file:
        file.write(b"own")
    assert (other.read_bytes(), read_own(link)) == (b"of somebody else", b"own")
    assert link.lstat().st_mode & 0o777 == 0o600


def test_a_file_is_not_replaced_through_a_link_of_another_user(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"of somebody else")
    (tmp_path / f".photo.jpg.{os.getpid()}.new").symlink_to(other)
    replace_file(tmp_path / "photo.jpg", b"personal", 0o600)
    assert (other.read_bytes(), read_own(tmp_path / "photo.jpg")) == (b"of somebody else", b"personal")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file of another user")
def test_a_file_of_another_user_is_not_written_and_only_root_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    os.chown(path, 65533, 65533)
    path.chmod(0o666)
    with own_file(path) as file:
        assert file.read() == b"x"
    with pytest.raises(NotRegular):
        open_own(path, os.O_RDWR)
    tmp_path.chmod(0o755)
    os.seteuid(65534)
    try:
        with suppress(PermissionError), pytest.raises(NotRegular):  # the folders above may be root's alone
            open_own(path)
    finally:
        os.seteuid(0)


def _locked_code_file(path: Path) -> None:
    with ownership.locked(path, label_of(BATCH, Content.CODES)):
        pass


def _locked_backups(path: Path) -> None:
    with BackupFolder(path.parent).locked():
        pass


def _served_picture(path: Path) -> None:
    asyncio.run(pictures.PictureFiles(path.parent.as_uri(), None)._read(path.name.encode()))


def _locked_keys(path: Path) -> None:
    with locked(path):
        pass


def _only_signer(path: Path) -> None:
    with sole_signer(path.with_name(path.name.removesuffix(".lock"))):
        pass


Reader = Callable[[Path], object]
OWN: dict[str, tuple[str, Reader, type[Exception]]] = {
    "code file": (file_name(BATCH), lambda path: code_folder(path.parent).open(BATCH), ForeignFile),
    "signatures": (f"batch-{BATCH.number}.signatures", lambda path: signatures.digest(BATCH, code_folder(path.parent)), ForeignFile),
    "code file before it is written": (
        file_name(BATCH),
        lambda path: ownership.refuse_foreign(path, label_of(BATCH, Content.CODES), code_folder(path.parent).keys()),
        ForeignFile,
    ),
    "unfinished code file": (f"{file_name(BATCH)}.part", _locked_code_file, ForeignFile),
    "file key": ("files.key", read_secret, KeyringError),
    "picture": (PICTURE, lambda path: PictureStorage(path.parent.as_uri()).get(path.name), Unavailable),
    "picture that is served": (PICTURE, _served_picture, NotRegular),
    "heads of the log": ("heads.jsonl", lambda path: list(HeadFile(path).lines()), Unavailable),
    "heads of the log, to append": ("heads.jsonl", lambda path: HeadFile(path).append(HEAD), Unavailable),
    "manifest of a backup": (MANIFEST, lambda path: read_manifest(path.parent), NotRegular),
    "file of a backup": ("20261129.tsv", digest, NotRegular),
    "lock of the backups": ("lock", _locked_backups, NotRegular),
    "signing log": ("signer.log", SigningLog, KeyringError),
    "lock of the keys": ("lock", _locked_keys, KeyringError),
    "lock of the signer": ("signer.sock.lock", _only_signer, SignerError),
}  # fmt: skip
NAMED: dict[str, tuple[str, Reader, type[Exception]]] = {
    "keyring": ("keyring.json", read_public, KeyringError),
    "root key": ("root.pub.pem", read_root, KeyringError),
    "older signing log": ("signer.log.1", lambda path: list(chunks_of([path])), KeyringError),
    "registry file": ("registry.xlsx", registry._contents, Refused),
}
PLACES = [(place, kind) for place in OWN for kind in STRANGE | LINK] + [
    (place, kind) for place in NAMED for kind in STRANGE
]


@pytest.mark.parametrize(("place", "kind"), PLACES)
def test_it_is_an_error_of_the_reader(tmp_path: Path, place: str, kind: str) -> None:
    name, read, error = (OWN | NAMED)[place]
    path = tmp_path / "place" / name
    put(kind, path)
    with pytest.raises(error):
        read(path)


def test_a_picture_s_storage_replaces_what_is_in_the_place_of_a_picture(tmp_path: Path) -> None:
    for kind in STRANGE | LINK:
        if kind == "a folder":
            continue
        path = tmp_path / kind / PICTURE
        put(kind, path)
        storage = PictureStorage(path.parent.as_uri())
        storage.put({PICTURE: b"picture"})
        assert storage.get(PICTURE) == b"picture"


def test_a_missing_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_own(tmp_path / "file")
    assert PictureStorage(tmp_path.as_uri()).get(PICTURE) is None
