"""The private keys: how they are opened and tested, and what they may sign.

A URI names a private key, so that a key can move from a file to an HSM or a cloud service: `SCHEMES` has an opener for each
scheme of URI, and an opener returns an object that signs. Only `keys.server` and `keys.ceremony` import this module.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import unquote, urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from keys import es256
from keys.audit_head import SignedHead, signed_bytes_of_head
from keys.files import read_secret
from keys.keyring import Key, KeyPurpose, Keyring, KeyringFile
from keys.log.ceiling import AUDIT_ENTRIES, BATCHES, NOTHING, ReachedValue
from keys.log.chain import LogTail
from keys.log.writer import SigningLog, entry, head_entry
from keys.messages import check_head, messages_of, refusal
from keys.protocol import Countersign, Items, LogPage, ReadLog, SignerReply, SignLotCode, SignProductCode
from zpcode.errors import KeyringError, Text

_LOG = logging.getLogger(__name__)
_CHALLENGE = b"zpcode-proof/1\n"  # no signed bytes of a code or a keyring begin like this
_ALGORITHM = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)  # RFC 6979


class SigningKey(Protocol):
    """A private key of the suite ES256, in a file or elsewhere.

    `deterministic`: the same message always gets the same signature (RFC 6979). Many tokens and cloud services draw a random
    number for each signature instead. The authority then keeps the signatures, because it could not write a file again.
    """

    @property
    def deterministic(self) -> bool: ...  # noqa: D102 - described above

    def sign_raw(self, message: bytes) -> bytes:
        """The signature of a message: 64 bytes raw r‖s, low s."""
        ...

    def sign_each(self, messages: Sequence[bytes]) -> bytes:
        """The signatures of many messages, one after the other in one byte string."""
        ...


class FileKey:
    """A private key in this process's memory."""

    __slots__ = ("_private",)
    deterministic = True

    def __init__(self, private: ec.EllipticCurvePrivateKey) -> None:
        self._private = private

    @property
    def public(self) -> ec.EllipticCurvePublicKey:
        """Its public half."""
        return self._private.public_key()

    def sign_raw(self, message: bytes) -> bytes:
        """The signature of a message: 64 bytes raw r‖s, low s."""
        return es256.raw_signature(self._private.sign(message, _ALGORITHM))

    def sign_each(self, messages: Sequence[bytes]) -> bytes:
        """The signatures of many messages, one after the other in one byte string."""
        sign, raw = self._private.sign, es256.raw_signature
        return b"".join([raw(sign(message, _ALGORITHM)) for message in messages])

    def encrypted(self, passphrase: bytes) -> bytes:
        """The key as encrypted PKCS#8 in PEM (RFC 5958, RFC 7468). It is never stored in another form."""
        encryption = serialization.BestAvailableEncryption(passphrase)
        return self._private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def generated() -> FileKey:
    """A new P-256 key from the operating system's randomness."""
    return FileKey(ec.generate_private_key(ec.SECP256R1()))


def decrypted(path: Path, passphrase: bytes) -> FileKey:
    """The key in an encrypted PKCS#8 file of mode 0600 or 0400.

    Raises KeyringError with the file: wrong mode or owner, no encryption, a wrong passphrase, another curve. A wrong passphrase
    and a damaged file cannot be distinguished.
    """
    pem = read_secret(path)
    if not pem.startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----"):
        zh, en = f"{path} 不是加密的 PKCS#8 私钥", f"{path} is not an encrypted PKCS#8 private key"
        raise KeyringError(Text(zh, en))
    try:
        private = serialization.load_pem_private_key(pem, passphrase)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        zh, en = (
            f"{path} 无法解密：口令有误或文件已损坏",
            f"{path} cannot be decrypted: wrong passphrase, or the file is damaged",
        )
        raise KeyringError(Text(zh, en)) from None
    if not isinstance(private, ec.EllipticCurvePrivateKey) or not isinstance(private.curve, ec.SECP256R1):
        raise KeyringError(Text(f"{path} 不是 P-256 密钥", f"{path} is not a P-256 key"))
    return FileKey(private)


def _open_file(uri: str, passphrase: bytes) -> SigningKey:
    parts = urlsplit(uri)
    path = Path(unquote(parts.path))
    if parts.netloc or parts.query or parts.fragment or not path.is_absolute():
        zh, en = f"{uri} 应写作 file:///绝对路径", f"{uri} must have the form file:///absolute/path"
        raise KeyringError(Text(zh, en))
    return decrypted(path, passphrase)


SCHEMES: Final[Mapping[str, Callable[[str, bytes], SigningKey]]] = {"file": _open_file}
"""URI scheme → opener of (URI, passphrase). `pkcs11:` (RFC 7512) and a cloud KMS are further entries."""


def open_key(uri: str, passphrase: bytes, public: ec.EllipticCurvePublicKey) -> SigningKey:
    """The private key that a URI names, after a test that it is the private half of `public`.

    Raises KeyringError: unknown scheme, an error of the opener, the two halves do not match, or the key does not repeat its
    signatures although it says so.
    """
    scheme = uri.partition(":")[0].lower()
    opener = SCHEMES.get(scheme)
    if opener is None:
        schemes = ", ".join(sorted(SCHEMES))
        zh, en = f"不支持 {scheme}: 形式的密钥地址，可用：{schemes}", f"unknown key scheme {scheme!r}; known: {schemes}"
        raise KeyringError(Text(zh, en))
    key = opener(uri, passphrase)
    challenge = _CHALLENGE + os.urandom(32)
    signature = key.sign_raw(challenge)
    if not es256.verify_raw(public, challenge, signature):
        zh, en = f"{uri} 的私钥与公钥环中的公钥不匹配", f"the private key at {uri} does not match its public half"
        raise KeyringError(Text(zh, en))
    if key.deterministic and key.sign_raw(challenge) != signature:
        zh, en = (
            f"{uri} 的密钥对同一内容每次签出的结果不同",
            f"the key at {uri} signs the same message differently each time",
        )
        raise KeyringError(Text(zh, en))
    return key


def key_path(folder: Path, key_id: str) -> Path:
    """The file of a key that is stored in a file."""
    return folder / f"{key_id}.key.pem"


def key_uri(folder: Path, key_id: str) -> str:
    """The URI of a key: the content of `KID.key.uri` in the key folder, or else the file `KID.key.pem` there."""
    uri_file = folder / f"{key_id}.key.uri"
    if uri_file.exists():
        return read_secret(uri_file).decode("utf-8", "replace").strip()
    return key_path(folder.absolute(), key_id).as_uri()


class KeySigner:
    """Signs what the current keyring permits, and logs every request before it signs.

    `clock` gives the time in UTC, with its zone. Batch numbers and audit entries up to the highest ones given here are accepted although
    they are not plausible yet (`keys.log.ceiling`). A key is loaded at its first use and forgotten when the keyring changes, so
    that rotation and revocation take effect without a restart.
    """

    def __init__(
        self,
        keyring: KeyringFile,
        folder: Path,
        passphrase: bytes,
        log: SigningLog,
        clock: Callable[[], datetime],
        *,
        highest_batch: ReachedValue = NOTHING,
        highest_audit_entry: ReachedValue = NOTHING,
    ) -> None:
        self._file, self._folder, self._passphrase = keyring, folder, passphrase
        self._log, self._clock = log, clock
        self._highest_batch, self._highest_audit_entry = highest_batch, highest_audit_entry
        self._keyring, self._problem = keyring.current(), keyring.problem
        self._loaded: dict[str, SigningKey] = {}

    def active_key(self) -> str:
        """The id of the key for a new batch. Raises SignerError if there is none."""
        return self._active().id

    def load_active(self) -> None:
        """Load and test the key for a new batch. Raises SignerError if there is none, KeyringError if it cannot be used."""
        self._load(self._active())

    def _active(self) -> Key:
        key = self._ring().key_for_new_batch(self._clock())
        if key is None:
            raise refusal(
                "没有可用于新批次的密钥，请执行 zpkeys rotate", "no key may start a new batch; run: zpkeys rotate"
            )
        return key

    def describe(self, key_id: str) -> SignerReply:
        """What a key that may sign is like. Raises SignerError, or KeyringError if the key cannot be loaded."""
        key = self._permitted(key_id)
        return SignerReply(repeats=self._load(key).deterministic, until=int(key.record.not_after.timestamp()))

    def sign(self, request: SignProductCode | SignLotCode | Items, uid: int) -> bytes:
        """The signatures of a request, 64 bytes each. Raises SignerError, or KeyringError if the key cannot be loaded.

        A batch number above all others must be plausible (`keys.log.ceiling`).
        """
        key = self._permitted(request.key_id)
        messages = messages_of(request)
        private = self._load(key)
        now = self._clock()
        with self._log.writing() as log:
            if isinstance(request, Items) and request.batch > log.tail.batch:
                BATCHES.check(request.batch, log.tail.first_batch, log.tail.now(now), self._highest_batch)
            log.write(entry(request, messages, now, uid))
        return private.sign_each(messages)

    def countersign(self, request: Countersign, uid: int) -> SignedHead:
        """The countersigned head, with this signer's time. It is on disk in the log when this returns.

        Raises SignerError: no key for heads, `keys.messages.check_head` refuses the head, or its id is not plausible
        (`keys.log.ceiling`). Raises KeyringError if the key cannot be loaded.
        """
        key = self._head_key()
        private = self._load(key)
        with self._log.writing() as log:
            check_head(request, log.tail.head)
            now = self._clock()
            AUDIT_ENTRIES.check(request.id, log.tail.first_id, log.tail.now(now), self._highest_audit_entry)
            at = int(now.timestamp())
            message = signed_bytes_of_head(key.id, request.id, request.hash, at)
            head = SignedHead(request.id, request.hash, at, key.id, private.sign_raw(message))
            log.write(head_entry(head, now, uid), sync=True)
        return head

    def high_water(self) -> LogTail:
        """How far this signer has come, from its log. Raises SignerError if the log cannot be read."""
        return self._log.tail()

    def read_log(self, request: ReadLog) -> LogPage:
        """Lines of this signer's log. They have no secret: no signature of a code, only what was signed (keys.log.writer).

        Raises SignerError if the log was rotated between two pages, or cannot be read.
        """
        return self._log.page(request.offset, request.file)

    def _head_key(self) -> Key:
        key = self._ring().key_for_audit_heads(self._clock())
        if key is None:
            raise refusal(
                "没有用于会签审计日志的密钥，请执行 zpkeys create --purpose audit-head",
                "there is no active key for audit heads; run: zpkeys create --purpose audit-head",
            )
        return key

    def _load(self, key: Key) -> SigningKey:
        if key.public is None:
            raise refusal(f"密钥 {key.id} 的算法未知", f"this signer does not know the suite of key {key.id}")
        if key.id not in self._loaded:
            self._loaded[key.id] = open_key(key_uri(self._folder, key.id), self._passphrase, key.public)
        return self._loaded[key.id]

    def _ring(self) -> Keyring:
        ring = self._file.current()
        if self._file.problem != self._problem:
            self._problem = self._file.problem
            _LOG.warning("keyring: %s", self._problem or "can be trusted again")
        if ring is not self._keyring:
            self._keyring = ring
            self._loaded.clear()
        return ring

    def _permitted(self, key_id: str) -> Key:
        key = self._ring().get(key_id)
        if key is None:
            raise refusal(f"没有密钥 {key_id[:8]!r}", f"there is no key {key_id[:8]!r}")
        if not key.signs(KeyPurpose.CODES):
            raise refusal(
                f"密钥 {key_id} 的用途是 {key.record.purpose}，不能签发码",
                f"key {key_id} is for {key.record.purpose} and signs no codes",
            )
        if not key.may_sign(self._clock()):
            raise refusal(
                f"密钥 {key_id} 现在不能签名（状态 {key.state}，有效期至 {key.record.not_after:%Y-%m-%d}）",
                f"key {key_id} may not sign now (state {key.state}, valid to {key.record.not_after:%Y-%m-%d})",
            )
        return key
