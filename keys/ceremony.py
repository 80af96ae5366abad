"""The ceremonies that change signing keys: create, rotate, retire, revoke. Each publishes a new keyring.

A ceremony reads the current keyring, verifies it with the root key, changes it, signs the result with the root key under the
next serial, and replaces the file in one step. A lock lets only one ceremony run at a time. A new private key is on disk and
tested before the keyring names it. So an interruption at any point leaves the old keyring complete.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

from keys import es256
from keys.document import (
    ArchiveStatement,
    Document,
    KeyPurpose,
    KeyRecord,
    KeyState,
    assembled,
    body_of,
    signed_bytes_of,
)
from keys.files import locked, make_folder, read_public, replace_file, write_secret
from keys.keyring import FINISHING, Keyring, read_root
from keys.signer import FileKey, decrypted, generated, key_path, open_key
from zpcode.errors import KeyringError, Text

MIN_PASSPHRASE: Final = 12
"""Bytes. Whoever steals a key file can try passphrases offline, without a limit on attempts."""
MAX_VALIDITY: Final = timedelta(days=3660)
MAX_REASON: Final = 200


@dataclass(frozen=True, slots=True)
class KeyRoom:
    """The files of a ceremony. `root_key` may be on a medium that is locked away afterwards."""

    keys_dir: Path
    keyring: Path
    root_key: Path
    root_public: Path


@dataclass(frozen=True, slots=True)
class _Change:
    """The keys of the next keyring, and the id of the key that changed."""

    keys: list[KeyRecord]
    key_id: str


def _refuse(zh: str, en: str) -> KeyringError:
    return KeyringError(Text(zh, en))


def _check_passphrase(passphrase: bytes) -> None:
    if len(passphrase) < MIN_PASSPHRASE:
        raise _refuse(f"口令至少 {MIN_PASSPHRASE} 字节", f"a passphrase must have at least {MIN_PASSPHRASE} bytes")


def create_root(room: KeyRoom, *, root_passphrase: bytes) -> str:
    """Make the root key pair and return its id. This is done once for a service.

    Raises KeyringError if one of the two files exists: with another root, no keyring published before would be trusted.
    """
    _check_passphrase(root_passphrase)
    if room.root_public.exists():
        raise _refuse(
            f"根公钥 {room.root_public} 已存在，不能更换根密钥",
            f"the root public key {room.root_public} exists; the root key is not replaced",
        )
    root = generated()
    make_folder(room.root_key.parent)
    make_folder(room.root_public.parent)
    write_secret(room.root_key, root.encrypted(root_passphrase))
    replace_file(room.root_public, es256.public_pem(root.public), 0o644)
    return es256.key_id(root.public)


def create_key(
    room: KeyRoom,
    *,
    passphrase: bytes,
    root_passphrase: bytes,
    now: datetime,
    validity: timedelta,
    purpose: KeyPurpose = KeyPurpose.CODES,
) -> str:
    """Make a signing key and return its id. Raises KeyringError if a key of this purpose is active: `rotate` replaces it."""

    def change(keys: Sequence[KeyRecord]) -> _Change:
        for record in keys:
            if record.state is KeyState.ACTIVE and record.purpose == purpose.value:
                raise _refuse(
                    f"密钥 {record.id} 正在使用，如需更换，请执行 zpkeys rotate",
                    f"key {record.id} is active; to replace it use: zpkeys rotate",
                )
        fresh = _new_key(room, keys, passphrase, now, validity, purpose)
        return _Change([*keys, fresh], fresh.id)

    return _perform(room, root_passphrase, now, change)


def rotate(
    room: KeyRoom,
    *,
    passphrase: bytes,
    root_passphrase: bytes,
    now: datetime,
    validity: timedelta,
    purpose: KeyPurpose = KeyPurpose.CODES,
) -> str:
    """Make a new active key of a purpose and return its id.

    A key for codes becomes `retiring`: it finishes its batches. A key for audit heads has nothing to finish and becomes `retired`.
    """
    after = KeyState.RETIRING if purpose is KeyPurpose.CODES else KeyState.RETIRED

    def replaced(record: KeyRecord) -> KeyRecord:
        same = record.state is KeyState.ACTIVE and record.purpose == purpose.value
        return msgspec.structs.replace(record, state=after) if same else record

    def change(keys: Sequence[KeyRecord]) -> _Change:
        fresh = _new_key(room, keys, passphrase, now, validity, purpose)
        return _Change([*map(replaced, keys), fresh], fresh.id)

    return _perform(room, root_passphrase, now, change)


def retire(
    room: KeyRoom, key_id: str, *, statement: ArchiveStatement | None, root_passphrase: bytes, now: datetime
) -> None:
    """Let a key sign no more; what it has signed stays valid. An unfinished batch of this key starts again with the active key.

    `statement` is the authority's: the key's files can be written again without it. None retires it nevertheless. Raises
    KeyringError if the statement is about another key or if the key is active: it may have started
    batches after the statement.
    """

    def change(keys: Sequence[KeyRecord]) -> _Change:
        record = _find(keys, key_id)
        if record.state in {KeyState.RETIRED, KeyState.REVOKED}:
            raise _refuse(f"密钥 {key_id} 已是 {record.state}", f"key {key_id} is already {record.state}")
        if statement is not None:
            _check_statement(statement, record)
        return _Change(_with(keys, msgspec.structs.replace(record, state=KeyState.RETIRED)), key_id)

    _perform(room, root_passphrase, now, change)


def _check_statement(statement: ArchiveStatement, record: KeyRecord) -> None:
    if statement.key != record.id:
        raise _refuse(
            f"归档声明针对密钥 {statement.key}，而非 {record.id}",
            f"the statement of the archive is about the key {statement.key}, not {record.id}",
        )
    if record.state is not KeyState.RETIRING:
        raise _refuse(
            f"密钥 {record.id} 仍在启用，声明之后可能又开始了新批次；请先执行 zpkeys rotate，再归档",
            f"key {record.id} is active and may have started batches after the statement; run zpkeys rotate first, then archive",
        )


def revoke(room: KeyRoom, key_id: str, *, reason: str, root_passphrase: bytes, now: datetime) -> None:
    """Withdraw the trust in everything a key has signed. Cannot be undone. `reason` is published: 1 to 200 characters."""
    if not (reason.isprintable() and reason.strip() and len(reason) <= MAX_REASON):
        raise _refuse(
            f"撤销须写明原因（1 至 {MAX_REASON} 字）", f"a revocation needs a reason of 1 to {MAX_REASON} characters"
        )

    def change(keys: Sequence[KeyRecord]) -> _Change:
        record = _find(keys, key_id)
        if record.state is KeyState.REVOKED:
            raise _refuse(f"密钥 {key_id} 已经撤销", f"key {key_id} is already revoked")
        revoked = msgspec.structs.replace(
            record, state=KeyState.REVOKED, revoked_at=now.replace(microsecond=0), reason=reason.strip()
        )
        return _Change(_with(keys, revoked), key_id)

    _perform(room, root_passphrase, now, change)


def publish(room: KeyRoom, document: bytes) -> Keyring:
    """Install a keyring that was signed on another machine. Raises KeyringError if it cannot be verified or is older."""
    with locked(_lock(room)):
        root, previous = read_root(room.root_public), current(room)
        following = previous.successor(document, root) if previous else Keyring.load(document, root)
        _install(room, following)
    return following


def current(room: KeyRoom) -> Keyring | None:
    """The current keyring, or None before the first.

    Raises KeyringError if it cannot be verified, or if it is older than the last one published from here: a ceremony on an
    old copy would publish it again and undo a revocation.
    """
    last = _last_serial(room)
    if not room.keyring.exists():
        if last:
            raise _refuse(
                f"{room.keyring} 缺失，而此前已发布到序号 {last}；请先恢复此文件",
                f"{room.keyring} is missing although serial {last} was published; restore it first",
            )
        return None
    keyring = Keyring.load(read_public(room.keyring), read_root(room.root_public))
    if keyring.serial < last:
        raise _refuse(
            f"{room.keyring} 的序号是 {keyring.serial}，而此前已发布到 {last}；请恢复最新的文件",
            f"{room.keyring} has serial {keyring.serial} although {last} was published; restore the latest",
        )
    return keyring


def _serial_file(room: KeyRoom) -> Path:
    return room.keys_dir / "published.serial"


def _last_serial(room: KeyRoom) -> int:
    path = _serial_file(room)
    if not path.exists():
        return 0
    text = read_public(path).decode("ascii", "replace").strip()
    if not text.isdecimal():
        raise _refuse(f"{path} 的内容不是序号", f"{path} does not contain a serial")
    return int(text)


def _lock(room: KeyRoom) -> Path:
    make_folder(room.keyring.parent)
    make_folder(room.keys_dir, 0o700)
    return room.keyring.with_name(f"{room.keyring.name}.lock")


def _perform(
    room: KeyRoom, root_passphrase: bytes, now: datetime, change: Callable[[Sequence[KeyRecord]], _Change]
) -> str:
    with locked(_lock(room)):
        previous = current(room)
        root = decrypted(room.root_key, root_passphrase)
        result = change(previous.content.keys if previous else ())
        serial = previous.serial + 1 if previous else 1
        content = Document(1, serial, now.replace(microsecond=0), result.keys)
        _install(room, _signed(room, root, content))
    return result.key_id


def _signed(room: KeyRoom, root: FileKey, content: Document) -> Keyring:
    body = body_of(content)
    raw = assembled(body, es256.key_id(root.public), root.sign_raw(signed_bytes_of(body)))
    return Keyring.load(raw, read_root(room.root_public))  # verified like in every reader, before it is published


def _install(room: KeyRoom, keyring: Keyring) -> None:
    replace_file(room.keyring, keyring.document, 0o644)
    replace_file(_serial_file(room), f"{keyring.serial}\n".encode("ascii"), 0o600)


def _new_key(
    room: KeyRoom,
    keys: Sequence[KeyRecord],
    passphrase: bytes,
    now: datetime,
    validity: timedelta,
    purpose: KeyPurpose,
) -> KeyRecord:
    _check_passphrase(passphrase)
    if not FINISHING < validity <= MAX_VALIDITY:
        zh, en = "有效期须大于 1 天、不超过 3660 天", "a key must be valid for more than 1 day and at most 3660 days"
        raise _refuse(zh, en)
    _check_same_passphrase(room, keys, passphrase)
    private, key_id = _unique_key(room, {record.id for record in keys})
    path = key_path(room.keys_dir.absolute(), key_id)
    write_secret(path, private.encrypted(passphrase))
    open_key(path.as_uri(), passphrase, private.public)
    begin = now.replace(microsecond=0)
    public = es256.jwk_of(private.public)
    return KeyRecord(key_id, es256.NAME, public, begin, begin + validity, KeyState.ACTIVE, purpose=purpose.value)


def _check_same_passphrase(room: KeyRoom, keys: Sequence[KeyRecord], passphrase: bytes) -> None:
    """Raises KeyringError if the other keys have another passphrase: the signer opens all keys with the same one."""
    for record in keys:
        path = key_path(room.keys_dir, record.id)
        if record.state in {KeyState.ACTIVE, KeyState.RETIRING} and path.exists():
            decrypted(path, passphrase)


def _unique_key(room: KeyRoom, taken: set[str]) -> tuple[FileKey, str]:
    """A new key whose id is unique. An id has 20 bits, so the first key may have the id of another."""
    while True:
        private = generated()
        key_id = es256.key_id(private.public)
        if key_id not in taken and not key_path(room.keys_dir, key_id).exists():
            return private, key_id


def _find(keys: Sequence[KeyRecord], key_id: str) -> KeyRecord:
    for record in keys:
        if record.id == key_id:
            return record
    ids = ", ".join(record.id for record in keys) or "-"
    raise _refuse(f"公钥环里没有密钥 {key_id}；已有：{ids}", f"no key {key_id} in the keyring; it has: {ids}")


def _with(keys: Sequence[KeyRecord], changed: KeyRecord) -> list[KeyRecord]:
    return [changed if record.id == changed.id else record for record in keys]
