"""The public keyring, with which a reader verifies seals.

Every scan uses it, so it is quick: a `Keyring` parses its public keys once, and `verify` costs little more than the
arithmetic of the curve. It has no private key. A reader trusts it because of its signature by the pinned root key.
"""

from __future__ import annotations

import enum
import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from keys import es256
from keys.audit_head import SignedHead
from keys.document import MAX_BYTES, Document, KeyPurpose, KeyRecord, KeyState, read_document, refusal, root_key
from zpcode.errors import KeyringError, Text
from zpcode.regular_files import any_file
from zpcode.wire.payload import Code, Seal, signed_bytes

__all__ = [
    "FINISHING",
    "Key",
    "KeyPurpose",
    "KeyState",
    "Keyring",
    "KeyringFile",
    "SealVerdict",
    "fingerprint",
    "read_root",
    "root_spki",
]

FINISHING: Final = timedelta(days=1)
"""A key starts no new batch within this time of its end, so that every batch it has started can be finished."""
_REREAD_SECONDS = 0.25


class SealVerdict(enum.Enum):
    """The verdict of a keyring on one seal or on another signature."""

    VALID = "valid"
    INVALID = "invalid"
    REVOKED = "revoked"  # the signature is valid, but its key is revoked


@dataclass(frozen=True, slots=True)
class Key:
    """One key of the keyring. `public` is None if this reader does not know its suite: it cannot be used."""

    record: KeyRecord
    public: ec.EllipticCurvePublicKey | None

    @property
    def id(self) -> str:
        """Four Base32 characters."""
        return self.record.id

    @property
    def state(self) -> KeyState:
        """What the key may still do."""
        return self.record.state

    def may_sign(self, now: datetime) -> bool:
        """Whether the key may sign: active or retiring, within its dates."""
        signing = self.state in {KeyState.ACTIVE, KeyState.RETIRING} and self.public is not None
        return signing and self.record.not_before <= now < self.record.not_after

    def signs(self, purpose: KeyPurpose) -> bool:
        """Whether the key was made for this purpose."""
        return self.record.purpose == purpose.value

    def may_start_batch(self, now: datetime) -> bool:
        """Whether the key may start a new batch of codes: active, with a day left to finish it."""
        active = self.signs(KeyPurpose.CODES) and self.state is KeyState.ACTIVE and self.may_sign(now)
        return active and now < self.record.not_after - FINISHING


def _key(record: KeyRecord) -> Key:
    revoked = record.state is KeyState.REVOKED
    if revoked != (record.revoked_at is not None) or revoked != (record.reason is not None):
        raise refusal(f"密钥 {record.id} 的撤销信息不完整", f"the revocation of key {record.id} is incomplete")
    if record.not_before >= record.not_after:
        raise refusal(f"密钥 {record.id} 的有效期止早于有效期起", f"key {record.id} ends before it begins")
    if record.suite != es256.NAME:
        return Key(record, None)
    try:
        public = es256.public_from_jwk(record.public)
    except ValueError:
        raise refusal(f"密钥 {record.id} 的公钥无效", f"the public key of {record.id} is not a P-256 JWK") from None
    if es256.key_id(public) != record.id:
        raise refusal(f"密钥 {record.id} 的编号与公钥不符", f"the id of key {record.id} does not match its public key")
    return Key(record, public)


class Keyring:
    """A keyring whose root signature was verified. Immutable. Iterates over its keys in the published order.

    `document` is the file as it was read, which is served at /.well-known/zpcode-keyring.json.
    """

    __slots__ = ("_keys", "_seals", "content", "document")

    def __init__(self, content: Document, document: bytes) -> None:
        self.content = content
        self.document = document
        self._keys = {record.id: _key(record) for record in content.keys}
        if len(self._keys) != len(content.keys):
            raise refusal("同一密钥编号出现了两次", "it has the same key id twice")
        # All that `verify_seal` needs of a key: its public half, and the verdict if the signature is valid.
        self._seals = {
            key.id: (key.public, SealVerdict.REVOKED if key.state is KeyState.REVOKED else SealVerdict.VALID)
            for key in self._keys.values()
            if key.public is not None and key.signs(KeyPurpose.CODES)
        }

    @classmethod
    def load(cls, document: bytes, root: bytes) -> Keyring:
        """A keyring from its JSON, verified with the pinned root public key (PEM). Raises KeyringError."""
        return cls(read_document(document, root), document)

    def successor(self, document: bytes, root: bytes) -> Keyring:
        """The keyring that replaces this one. Raises KeyringError if it cannot be verified or is older than this one.

        Otherwise anyone who can write the file could put back a keyring from before a revocation. The same serial with other
        content is refused too.
        """
        following = Keyring.load(document, root)
        if following.serial < self.serial:
            raise refusal(
                f"序号 {following.serial} 小于已信任的序号 {self.serial}",
                f"its serial {following.serial} is older than {self.serial}, which was trusted before",
            )
        if following.serial == self.serial and following.content != self.content:
            raise refusal(
                f"序号 {self.serial} 对应两份不同的内容", f"there are two different contents with serial {self.serial}"
            )
        return following

    @property
    def serial(self) -> int:
        """Grows with each publication."""
        return self.content.serial

    @property
    def issued(self) -> datetime:
        """When the root signed it."""
        return self.content.issued

    def __iter__(self) -> Iterator[Key]:
        return iter(self._keys.values())

    def get(self, key_id: str) -> Key | None:
        """The key of that id, whatever its state, or None."""
        return self._keys.get(key_id)

    def key_for_new_batch(self, now: datetime) -> Key | None:
        """The key for a new batch: of the active keys the one that started last; None without one."""
        usable = (key for key in self if key.may_start_batch(now))
        return max(usable, key=lambda key: key.record.not_before, default=None)

    def key_for_audit_heads(self, now: datetime) -> Key | None:
        """The key for countersignatures of the audit chain: active, the one that started last; None without one."""
        usable = (
            key
            for key in self
            if key.signs(KeyPurpose.AUDIT_HEAD) and key.state is KeyState.ACTIVE and key.may_sign(now)
        )
        return max(usable, key=lambda key: key.record.not_before, default=None)

    def verify_head(self, signed: SignedHead) -> SealVerdict:
        """The verdict on a countersigned head of the audit chain. Never raises."""
        key = self._keys.get(signed.key_id)
        if key is None or key.public is None or not key.signs(KeyPurpose.AUDIT_HEAD):
            return SealVerdict.INVALID
        if not es256.verify_raw(key.public, signed.message, signed.signature):
            return SealVerdict.INVALID
        return SealVerdict.REVOKED if key.state is KeyState.REVOKED else SealVerdict.VALID

    def verify(self, code: Code) -> SealVerdict:
        """The verdict on a code's seal; INVALID for a code without a seal. Never raises.

        The suite comes from the key's record and never from the code, so no code can choose a weaker one.
        """
        return SealVerdict.INVALID if code.seal is None else self.verify_seal(code.seal, code.identity.path)

    def verify_seal(self, seal: Seal, path: str) -> SealVerdict:
        """The verdict on a seal over a canonical path. Never raises."""
        entry = self._seals.get(seal.key_id)
        if entry is None:
            return SealVerdict.INVALID
        try:
            message = signed_bytes(seal.key_id, path)
        except UnicodeEncodeError:  # only a code built by hand: `link.parse` accepts ASCII only
            return SealVerdict.INVALID
        public, verdict = entry
        return verdict if es256.verify_raw(public, message, seal.signature) else SealVerdict.INVALID


def _read(path: Path) -> bytes:
    with any_file(path) as file:
        return file.read(MAX_BYTES + 1)


def read_root(path: Path) -> bytes:
    """The PEM of the pinned root public key. Raises KeyringError if the file cannot be read."""
    try:
        return _read(path)
    except OSError as error:
        zh, en = (
            f"无法读取根公钥 {path}（{error.strerror}）",
            f"cannot read the root public key {path} ({error.strerror})",
        )
        raise KeyringError(Text(zh, en)) from error


def root_spki(root: bytes) -> bytes:
    """The DER SubjectPublicKeyInfo in the root public key's PEM: 91 bytes. Raises KeyringError on anything else."""
    return es256.spki(root_key(root))


def fingerprint(root: bytes) -> str:
    """The fingerprint of a root public key (PEM), which people compare: SHA-256 of its SPKI, hex in eight groups of eight.

    The key's id is too short for this: an attacker can make a key with the same four characters. Raises KeyringError if it is
    not a P-256 key.
    """
    digits = hashlib.sha256(root_spki(root)).hexdigest()
    return " ".join(digits[at : at + 8] for at in range(0, len(digits), 8))


class KeyringFile:
    """The keyring in a file that may be replaced at any time. Raises KeyringError if it cannot be read at first.

    `clock` gives monotonic seconds; the file is checked at most every 0.25 s. If a new file is damaged, unsigned or older, the
    last good keyring stays in use and `problem` says why.
    """

    __slots__ = ("_clock", "_keyring", "_mark", "_next", "_path", "_root", "problem")

    def __init__(self, path: Path, root: bytes, clock: Callable[[], float]) -> None:
        self._path, self._root, self._clock = path, root, clock
        self._next = clock() + _REREAD_SECONDS
        self.problem: str | None = None
        try:
            self._mark = self._stat()
            self._keyring = Keyring.load(_read(path), root)
        except OSError as error:
            raise refusal(f"无法读取 {path}（{error.strerror}）", f"cannot read {path} ({error.strerror})") from error

    def _stat(self) -> tuple[int, int, int]:
        status = os.stat(self._path)  # noqa: PTH116 - a third of Path.stat's cost, on the hot path
        return status.st_mtime_ns, status.st_size, status.st_ino

    def current(self) -> Keyring:
        """The current keyring: a replaced file is noticed within 0.25 s."""
        if self._clock() >= self._next:
            self._check_file()
        return self._keyring

    def reread(self) -> Keyring:
        """The current keyring, after checking the file now: for a key id that the last keyring does not have."""
        self._check_file()
        return self._keyring

    def _check_file(self) -> None:
        self._next = self._clock() + _REREAD_SECONDS
        try:
            if (mark := self._stat()) == self._mark:
                return
            raw = _read(self._path)
        except OSError as error:
            self.problem = f"cannot read {self._path} ({error.strerror}) / 无法读取 {self._path}"
            self._mark = (0, 0, 0)  # read it again when it is back, even if it is the same file
            return
        self._mark = mark  # taken before reading: a file replaced during the reading is read again
        try:
            self._keyring = self._keyring.successor(raw, self._root)
        except KeyringError as error:
            self.problem = str(error)
        else:
            self.problem = None
