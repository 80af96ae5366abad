"""Private keys: which files are opened, which refused, and how a key proves itself."""
# A test's name is its sentence; a docstring stands where there is more to say.

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from keys.ceremony import KeyRoom
from keys.signer import decrypted, generated, key_path, key_uri, open_key
from tests.support.keyroom import PASSPHRASE, create, key_room, private, rotate
from zpcode.errors import KeyringError

NOW = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)


@pytest.fixture
def room(tmp_path: Path) -> KeyRoom:
    """A room with one key."""
    return key_room(tmp_path)


@pytest.fixture
def key_id(room: KeyRoom) -> str:
    """The room's active key."""
    return create(room, NOW)


@pytest.fixture
def path(room: KeyRoom, key_id: str) -> Path:
    """The file of that key."""
    return key_path(room.keys_dir, key_id)


def test_keys_lie_encrypted_in_files_only_their_owner_reads(room: KeyRoom, path: Path) -> None:
    for file in (path, room.root_key):
        assert file.read_bytes().startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
        assert file.stat().st_mode & 0o777 == 0o600
    assert room.keys_dir.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_file_of_its_owner_alone_is_opened(path: Path, mode: int) -> None:
    path.chmod(mode)
    key = decrypted(path, PASSPHRASE).public
    assert isinstance(key.curve, ec.SECP256R1)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o660, 0o604, 0o700, 0o000, 0o200])
def test_any_other_mode_is_refused_with_the_command_that_fixes_it(path: Path, mode: int) -> None:
    path.chmod(mode)
    with pytest.raises(KeyringError) as caught:
        decrypted(path, PASSPHRASE)
    if os.geteuid() == 0 or mode & 0o400:  # others than root cannot even open a file they may not read
        assert f"chmod 600 {path}" in caught.value.text.en
        assert f"chmod 600 {path}" in caught.value.text.zh


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_refused(path: Path) -> None:
    os.chown(path, 65534, -1)
    with pytest.raises(KeyringError, match="belongs to user 65534"):
        decrypted(path, PASSPHRASE)


def test_links_folders_and_missing_files_are_refused(path: Path) -> None:
    link = path.with_name("link.pem")
    link.symlink_to(path)
    for other in (link, path.parent, path.with_name("none.pem")):
        with pytest.raises(KeyringError, match=str(other)):
            decrypted(other, PASSPHRASE)


def test_a_wrong_passphrase_and_a_damaged_file_are_refused(path: Path) -> None:
    with pytest.raises(KeyringError, match="wrong passphrase"):
        decrypted(path, PASSPHRASE + b"!")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(KeyringError, match="damaged"):
        decrypted(path, PASSPHRASE)


def test_a_key_that_is_not_encrypted_is_refused(path: Path) -> None:
    bare = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(bare)
    with pytest.raises(KeyringError, match="not an encrypted"):
        decrypted(path, PASSPHRASE)


def test_a_key_of_another_curve_is_refused(path: Path) -> None:
    path.write_bytes(
        ec.generate_private_key(ec.SECP384R1()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(PASSPHRASE),
        )
    )
    with pytest.raises(KeyringError, match="P-256"):
        decrypted(path, PASSPHRASE)


def test_a_key_that_does_not_match_its_public_half_is_refused(room: KeyRoom, key_id: str, path: Path) -> None:
    public = private(room, key_id).public
    open_key(key_uri(room.keys_dir, key_id), PASSPHRASE, public)
    path.write_bytes(generated().encrypted(PASSPHRASE))
    with pytest.raises(KeyringError, match="does not match its public half"):
        open_key(key_uri(room.keys_dir, key_id), PASSPHRASE, public)


def test_an_unknown_scheme_is_refused_and_the_known_ones_are_named(room: KeyRoom, key_id: str) -> None:
    public = private(room, key_id).public
    with pytest.raises(KeyringError, match=r"unknown key scheme 'pkcs11'; known: file"):
        open_key("pkcs11:token=zp;object=K1", PASSPHRASE, public)


@pytest.mark.parametrize("uri", ["file:relative.pem", "file://host/a.pem", "file:///a.pem?x=1"])
def test_a_file_uri_names_an_absolute_path_of_this_machine(room: KeyRoom, key_id: str, uri: str) -> None:
    with pytest.raises(KeyringError, match="file:///absolute/path"):
        open_key(uri, PASSPHRASE, private(room, key_id).public)


def test_a_uri_file_says_where_a_key_lies_instead(room: KeyRoom, key_id: str, path: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "with blank" / "k.pem"
    elsewhere.parent.mkdir()
    path.rename(elsewhere)
    named = room.keys_dir / f"{key_id}.key.uri"
    named.write_text(elsewhere.as_uri() + "\n")
    named.chmod(0o600)
    public = decrypted(elsewhere, PASSPHRASE).public
    assert open_key(key_uri(room.keys_dir, key_id), PASSPHRASE, public).sign_raw(b"x")
    named.chmod(0o644)
    with pytest.raises(KeyringError, match="chmod 600"):
        key_uri(room.keys_dir, key_id)


def test_every_key_has_a_half_of_its_own(room: KeyRoom, key_id: str) -> None:
    second = rotate(room, NOW)
    assert private(room, key_id).public != private(room, second).public
