"""The public keyring: what a reader holds to tell a genuine seal from any other.

On the hot path of every scan, so it is quick to import and to ask: a `Keyring` has its public keys
parsed once, `verify` costs little above the curve arithmetic. It holds no private key, and a reader
trusts it through one pinned root public key only.
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
from keys.document import MAX_BYTES, Document, KeyRecord, KeyState, read_document, refusal, root_key
from zpcode.errors import KeyringError, Text
from zpcode.wire.payload import Code, Seal, signed_bytes

__all__ = [
    "FINISHING",
    "Key",
    "KeyState",
    "Keyring",
    "KeyringFile",
    "SealVerdict",
    "fingerprint",
    "read_root",
    "root_spki",
]

FINISHING: Final = timedelta(days=1)
"""How long before its end a key begins no more batches, so that every one it began can finish."""
_LOOK_EVERY = 0.25


class SealVerdict(enum.Enum):
    """What a keyring says of one seal."""

    VALID = "valid"
    INVALID = "invalid"
    REVOKED = "revoked"  # the signature is right and its key is revoked


@dataclass(frozen=True, slots=True)
class Key:
    """One key of the ring. `public` is None when its suite is one this reader does not know: unusable."""

    record: KeyRecord
    public: ec.EllipticCurvePublicKey | None

    @property
    def id(self) -> str:
        """Four Base32 characters."""
        return self.record.id

    @property
    def state(self) -> KeyState:
        """What it may still do."""
        return self.record.state

    def may_sign(self, now: datetime) -> bool:
        """Whether it may sign at all: active or retiring, within its dates."""
        signing = self.state in {KeyState.ACTIVE, KeyState.RETIRING} and self.public is not None
        return signing and self.record.not_before <= now < self.record.not_after

    def may_begin(self, now: datetime) -> bool:
        """Whether a new batch may begin with it: active, with a day left to finish what begins."""
        return self.state is KeyState.ACTIVE and self.may_sign(now) and now < self.record.not_after - FINISHING


def _key(record: KeyRecord) -> Key:
    revoked = record.state is KeyState.REVOKED
    if revoked != (record.revoked_at is not None) or revoked != (record.reason is not None):
        raise refusal(f"密钥 {record.id} 的撤销信息不完整", f"the revocation of key {record.id} is incomplete")
    if record.not_before >= record.not_after:
        raise refusal(f"密钥 {record.id} 的有效期颠倒", f"the dates of key {record.id} are the wrong way round")
    if record.suite != es256.NAME:
        return Key(record, None)
    try:
        public = es256.public_from_jwk(record.public)
    except ValueError:
        raise refusal(f"密钥 {record.id} 的公钥不对", f"the public key of {record.id} is not a P-256 JWK") from None
    if es256.key_id(public) != record.id:
        raise refusal(f"密钥 {record.id} 的编号与公钥不符", f"the id of key {record.id} is not that of its public key")
    return Key(record, public)


class Keyring:
    """A keyring whose root signature was right. Immutable; iterates over its keys in published order.

    `document` is the file as it was read, to be served at /.well-known/zpcode-keyring.json.
    """

    __slots__ = ("_keys", "_seals", "content", "document")

    def __init__(self, content: Document, document: bytes) -> None:
        self.content = content
        self.document = document
        self._keys = {record.id: _key(record) for record in content.keys}
        if len(self._keys) != len(content.keys):
            raise refusal("同一密钥编号出现两次", "one key id stands in it twice")
        # What verify needs of a key and nothing more: its public half and the verdict on a right signature.
        self._seals = {
            key.id: (key.public, SealVerdict.REVOKED if key.state is KeyState.REVOKED else SealVerdict.VALID)
            for key in self._keys.values()
            if key.public is not None
        }

    @classmethod
    def load(cls, document: bytes, root: bytes) -> Keyring:
        """A keyring from its JSON and the pinned root public key in PEM. Raises KeyringError."""
        return cls(read_document(document, root), document)

    def successor(self, document: bytes, root: bytes) -> Keyring:
        """The keyring that replaces this one. Raises KeyringError, also when it is older than this.

        Without that check whoever can write the file could bring back a keyring from before a
        revocation. The same serial with another content is refused as well.
        """
        following = Keyring.load(document, root)
        if following.serial < self.serial:
            raise refusal(
                f"序号 {following.serial} 早于已信任的 {self.serial}",
                f"its serial {following.serial} is older than {self.serial}, which is trusted already",
            )
        if following.serial == self.serial and following.content != self.content:
            raise refusal(
                f"序号 {self.serial} 有两份不同内容", f"there are two different contents with serial {self.serial}"
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

    def beginning(self, now: datetime) -> Key | None:
        """The key a new batch begins with: the active one with the latest start, or None."""
        usable = (key for key in self if key.may_begin(now))
        return max(usable, key=lambda key: key.record.not_before, default=None)

    def verify(self, code: Code) -> SealVerdict:
        """What this ring says of a code's seal. Never raises; a code without a seal is INVALID.

        The suite is the key record's, never the code's, so no code can ask for a weaker one.
        """
        return SealVerdict.INVALID if code.seal is None else self.verify_seal(code.seal, code.identity.path)

    def verify_seal(self, seal: Seal, path: str) -> SealVerdict:
        """What this ring says of a seal over a canonical path. Never raises."""
        entry = self._seals.get(seal.key_id)
        if entry is None:
            return SealVerdict.INVALID
        try:
            message = signed_bytes(seal.key_id, path)
        except UnicodeEncodeError:  # a code built by hand; `link.parse` lets only ASCII through
            return SealVerdict.INVALID
        public, verdict = entry
        return verdict if es256.verify_raw(public, message, seal.signature) else SealVerdict.INVALID


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


def read_root(path: Path) -> bytes:
    """The pinned root public key's PEM. Raises KeyringError naming the file when it cannot be read."""
    try:
        return _read(path)
    except OSError as error:
        zh, en = f"读不到根公钥 {path}({error.strerror})", f"cannot read the root public key {path} ({error.strerror})"
        raise KeyringError(Text(zh, en)) from error


def root_spki(root: bytes) -> bytes:
    """The DER SubjectPublicKeyInfo in the root public key's PEM: 91 bytes. Raises KeyringError on anything else."""
    return es256.spki(root_key(root))


def fingerprint(root: bytes) -> str:
    """What people compare to know a root by, given its PEM: SHA-256 of its SPKI, hex in eight groups of eight.

    The four characters of its id are too few for that: others can make a key with the same ones.
    Raises KeyringError when it is not a P-256 key.
    """
    digits = hashlib.sha256(root_spki(root)).hexdigest()
    return " ".join(digits[at : at + 8] for at in range(0, len(digits), 8))


class KeyringFile:
    """The keyring in a file, followed as it is replaced. Raises KeyringError if the first reading fails.

    `clock` is monotonic, in seconds; the file is looked at most every 0.25 s of it. A replacement
    that is damaged, unsigned or older leaves the last good keyring in force, and `problem` says why.
    """

    __slots__ = ("_clock", "_keyring", "_mark", "_next", "_path", "_root", "problem")

    def __init__(self, path: Path, root: bytes, clock: Callable[[], float]) -> None:
        self._path, self._root, self._clock = path, root, clock
        self._next = clock() + _LOOK_EVERY
        self.problem: str | None = None
        try:
            self._mark = self._stat()
            self._keyring = Keyring.load(_read(path), root)
        except OSError as error:
            raise refusal(f"读不到 {path}({error.strerror})", f"cannot read {path} ({error.strerror})") from error

    def _stat(self) -> tuple[int, int, int]:
        found = os.stat(self._path)  # noqa: PTH116 - a third of Path.stat's cost, on the hot path
        return found.st_mtime_ns, found.st_size, found.st_ino

    def current(self) -> Keyring:
        """The keyring in force."""
        if self._clock() >= self._next:
            self._look()
        return self._keyring

    def reread(self) -> Keyring:
        """The keyring in force, after reading the file now: for a key id that the current keyring does not have."""
        self._look()
        return self._keyring

    def _look(self) -> None:
        self._next = self._clock() + _LOOK_EVERY
        try:
            if (mark := self._stat()) == self._mark:
                return
            raw = _read(self._path)
        except OSError as error:
            self.problem = f"cannot read {self._path} ({error.strerror}) / 读不到 {self._path}"
            self._mark = (0, 0, 0)  # read it again when it is back, even if it is the same file
            return
        self._mark = mark  # taken before reading: a file replaced meanwhile is looked at again
        try:
            self._keyring = self._keyring.successor(raw, self._root)
        except KeyringError as error:
            self.problem = str(error)
        else:
            self.problem = None
