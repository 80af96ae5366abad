"""The private keys: where they are found, how they are proven, and what they sign.

A private key is named by a URI, so that one in a file becomes one in an HSM or a cloud service by
another name: `SCHEMES` has an opener for each scheme, and what an opener returns only needs to
sign. Imported by `keys.server` and `keys.ceremony` and by nothing else.
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
from keys.files import read_secret
from keys.keyring import Key, Keyring, KeyringFile
from keys.messages import messages_of, refusal
from keys.protocol import Items, SignLotCode, SignProductCode
from keys.signing_log import SigningLog, entry
from zpcode.errors import KeyringError, Text

_LOG = logging.getLogger(__name__)
_CHALLENGE = b"zpcode-proof/1\n"  # no code and no keyring begins like this
_ALGORITHM = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)  # RFC 6979


class SigningKey(Protocol):
    """A private key of the suite ES256, wherever it lives."""

    def sign_raw(self, message: bytes) -> bytes:
        """The one signature of a message: 64 bytes raw r‖s, low s."""
        ...

    def sign_each(self, messages: Sequence[bytes]) -> bytes:
        """The signatures of many messages, end to end."""
        ...


class FileKey:
    """A private key in this process's memory."""

    __slots__ = ("_private",)

    def __init__(self, private: ec.EllipticCurvePrivateKey) -> None:
        self._private = private

    @property
    def public(self) -> ec.EllipticCurvePublicKey:
        """Its public half."""
        return self._private.public_key()

    def sign_raw(self, message: bytes) -> bytes:
        """The one signature of a message: 64 bytes raw r‖s, low s."""
        return es256.raw_signature(self._private.sign(message, _ALGORITHM))

    def sign_each(self, messages: Sequence[bytes]) -> bytes:
        """The signatures of many messages, end to end."""
        sign, raw = self._private.sign, es256.raw_signature
        return b"".join([raw(sign(message, _ALGORITHM)) for message in messages])

    def encrypted(self, passphrase: bytes) -> bytes:
        """The key as encrypted PKCS#8 in PEM (RFC 5958, RFC 7468), the only form it is ever stored in."""
        encryption = serialization.BestAvailableEncryption(passphrase)
        return self._private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def generated() -> FileKey:
    """A new P-256 key from the operating system's randomness."""
    return FileKey(ec.generate_private_key(ec.SECP256R1()))


def decrypted(path: Path, passphrase: bytes) -> FileKey:
    """The key in an encrypted PKCS#8 file of mode 0600 or 0400.

    Raises KeyringError naming the file: mode, owner, a file without encryption, a wrong passphrase,
    another curve. A wrong passphrase and a damaged file cannot be told apart.
    """
    pem = read_secret(path)
    if not pem.startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----"):
        zh, en = f"{path} 不是加密的 PKCS#8 私钥", f"{path} is not an encrypted PKCS#8 private key"
        raise KeyringError(Text(zh, en))
    try:
        private = serialization.load_pem_private_key(pem, passphrase)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        zh, en = f"{path} 解不开：口令不对或文件损坏", f"{path} does not open: wrong passphrase, or the file is damaged"
        raise KeyringError(Text(zh, en)) from None
    if not isinstance(private, ec.EllipticCurvePrivateKey) or not isinstance(private.curve, ec.SECP256R1):
        raise KeyringError(Text(f"{path} 不是 P-256 密钥", f"{path} does not hold a P-256 key"))
    return FileKey(private)


def _open_file(uri: str, passphrase: bytes) -> SigningKey:
    parts = urlsplit(uri)
    path = Path(unquote(parts.path))
    if parts.netloc or parts.query or parts.fragment or not path.is_absolute():
        zh, en = f"{uri} 应写成 file:///绝对路径", f"{uri} should read file:///absolute/path"
        raise KeyringError(Text(zh, en))
    return decrypted(path, passphrase)


SCHEMES: Final[Mapping[str, Callable[[str, bytes], SigningKey]]] = {"file": _open_file}
"""URI scheme → opener of (URI, passphrase). `pkcs11:` (RFC 7512) and a cloud KMS are further entries."""


def open_key(uri: str, passphrase: bytes, public: ec.EllipticCurvePublicKey) -> SigningKey:
    """The private key a URI names, once it has proven that it is the private half of `public`.

    Raises KeyringError: unknown scheme, whatever its opener refuses, or the halves do not match.
    """
    scheme = uri.partition(":")[0].lower()
    opener = SCHEMES.get(scheme)
    if opener is None:
        known = ", ".join(sorted(SCHEMES))
        zh, en = f"不认识 {scheme}: 形式的密钥地址，已知：{known}", f"no key scheme {scheme!r} here; known: {known}"
        raise KeyringError(Text(zh, en))
    key = opener(uri, passphrase)
    challenge = _CHALLENGE + os.urandom(32)
    if not es256.verify_raw(public, challenge, key.sign_raw(challenge)):
        zh, en = f"{uri} 的私钥与公钥环中的公钥不是一对", f"the private key at {uri} does not match its public half"
        raise KeyringError(Text(zh, en))
    return key


def key_path(folder: Path, key_id: str) -> Path:
    """Where a key lies when it lies in a file."""
    return folder / f"{key_id}.key.pem"


def key_uri(folder: Path, key_id: str) -> str:
    """The URI of a key: what `KID.key.uri` in the key folder says, else the file `KID.key.pem` there."""
    named = folder / f"{key_id}.key.uri"
    if named.exists():
        return read_secret(named).decode("utf-8", "replace").strip()
    return key_path(folder.absolute(), key_id).as_uri()


class KeySigner:
    """Signs what the keyring allows now, and logs it first.

    `clock` gives aware UTC times. Keys are loaded when first needed and dropped with the keyring
    that let them sign, so that rotation and revocation take effect without a restart.
    """

    def __init__(
        self, keyring: KeyringFile, folder: Path, passphrase: bytes, log: SigningLog, clock: Callable[[], datetime]
    ) -> None:
        self._file, self._folder, self._passphrase = keyring, folder, passphrase
        self._log, self._clock = log, clock
        self._seen, self._problem = keyring.current(), keyring.problem
        self._loaded: dict[str, SigningKey] = {}

    def active_key(self) -> str:
        """The id of the key a new batch begins with. Raises SignerError when there is none."""
        return self._active().id

    def load_active(self) -> None:
        """Load and prove that key. Raises SignerError when there is none, KeyringError when it is not right."""
        self._load(self._active())

    def _active(self) -> Key:
        key = self._ring().beginning(self._clock())
        if key is None:
            raise refusal(
                "没有可用于新批次的密钥，请执行 zpkeys rotate", "no key may begin a new batch; run: zpkeys rotate"
            )
        return key

    def sign(self, request: SignProductCode | SignLotCode | Items, uid: int) -> bytes:
        """The signatures of a request, 64 bytes each. Raises SignerError, or KeyringError if the key does not load."""
        key = self._permitted(request.key_id)
        messages = messages_of(request)
        private = self._load(key)
        self._log.append(entry(request, messages, self._clock(), uid))
        return private.sign_each(messages)

    def _load(self, key: Key) -> SigningKey:
        if key.public is None:
            raise refusal(f"密钥 {key.id} 的算法未知", f"key {key.id} is of a suite this signer does not know")
        if key.id not in self._loaded:
            self._loaded[key.id] = open_key(key_uri(self._folder, key.id), self._passphrase, key.public)
        return self._loaded[key.id]

    def _ring(self) -> Keyring:
        ring = self._file.current()
        if self._file.problem != self._problem:
            self._problem = self._file.problem
            _LOG.warning("keyring: %s", self._problem or "good again")
        if ring is not self._seen:
            self._seen = ring
            self._loaded.clear()
        return ring

    def _permitted(self, key_id: str) -> Key:
        key = self._ring().get(key_id)
        if key is None:
            raise refusal(f"没有密钥 {key_id[:8]!r}", f"there is no key {key_id[:8]!r}")
        if not key.may_sign(self._clock()):
            raise refusal(
                f"密钥 {key_id} 现在不可签名（状态 {key.state}，有效期至 {key.record.not_after:%Y-%m-%d}）",
                f"key {key_id} may not sign now (state {key.state}, dates to {key.record.not_after:%Y-%m-%d})",
            )
        return key
