"""`python -m tests.support.random_signer serve`: the signer, with keys that draw a random number for each signature.

Many tokens sign like this. The scheme `random:` opens the same encrypted file as `file:`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from keys import __main__, es256, signer
from keys.signer import FileKey, SigningKey, decrypted


class RandomKey:
    """A private key whose signatures never repeat."""

    deterministic = False

    def __init__(self, key: FileKey) -> None:
        self._private = key._private

    def sign_raw(self, message: bytes) -> bytes:
        """A signature: 64 bytes."""
        return es256.raw_signature(self._private.sign(message, ec.ECDSA(hashes.SHA256())))

    def sign_each(self, messages: Sequence[bytes]) -> bytes:
        """The signatures of many messages."""
        return b"".join(map(self.sign_raw, messages))


def use_random_keys(keys_dir: Path) -> None:
    """Let each key in a key folder be opened under the scheme `random:`."""
    for path in keys_dir.glob("*.key.pem"):
        uri = path.with_name(path.name.replace(".key.pem", ".key.uri"))
        uri.touch(mode=0o600)
        uri.write_text(f"random://{path.absolute()}")


def _opened(uri: str, passphrase: bytes) -> SigningKey:
    return RandomKey(decrypted(Path(uri.partition("://")[2]), passphrase))


if __name__ == "__main__":
    assert isinstance(signer.SCHEMES, dict)
    signer.SCHEMES["random"] = _opened
    __main__.main()
