"""A countersigned head of the audit chain: what the signer signs, and the form in which it is kept.

A head is the id of the newest audit entry and its hash (SHA-256, `zpcode.rules.audit`). The signer adds its own time. The signed
bytes are `zpcode-audit-head/1`, the key id, the entry id, the hash in hex and the time in seconds since 1970, each on a line; no
line feed ends them. No signed bytes of a code (`zpcode/1`) or a keyring (`zpcode-keyring/1`) begin like this.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final

import msgspec
from msgspec import Meta

PREFIX: Final = "zpcode-audit-head/1"
HASH_BYTES: Final = 32
MAX_ENTRY: Final = (1 << 53) - 1
"""The highest id of an audit entry: the largest integer that every reader of JSON keeps exactly (RFC 8785)."""


class SignedHead(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A head and its countersignature. `at` is the signer's time in seconds since 1970; `signature` is 64 bytes raw r‖s."""

    id: Annotated[int, Meta(ge=1, le=MAX_ENTRY)]
    hash: Annotated[bytes, Meta(min_length=HASH_BYTES, max_length=HASH_BYTES)]
    at: Annotated[int, Meta(ge=0, le=MAX_ENTRY)]
    key_id: Annotated[str, Meta(min_length=4, max_length=4)]
    signature: Annotated[bytes, Meta(min_length=64, max_length=64)]

    @property
    def message(self) -> bytes:
        """The bytes that were signed."""
        return signed_bytes_of_head(self.key_id, self.id, self.hash, self.at)


def head_fields(head: SignedHead) -> dict[str, str | int]:
    """A head as a line of JSON has it: bytes in hex."""
    return {
        "key": head.key_id,
        "id": head.id,
        "hash": head.hash.hex(),
        "at": head.at,
        "signature": head.signature.hex(),
    }


def head_from(fields: Mapping[str, object]) -> SignedHead:
    """The head in a decoded line of JSON; other members are ignored. Raises ValueError for anything else."""
    try:
        hash_, signature = (bytes.fromhex(str(fields[name])) for name in ("hash", "signature"))
        plain = {"id": fields["id"], "hash": hash_, "at": fields["at"], "key_id": fields["key"], "signature": signature}
        return msgspec.convert(plain, SignedHead)
    except (KeyError, TypeError) as error:
        raise ValueError("not a countersigned head") from error


def signed_bytes_of_head(key_id: str, entry: int, hash_: bytes, at: int) -> bytes:
    """The bytes that the key `key_id` signs for one head: ASCII, five lines."""
    return f"{PREFIX}\n{key_id}\n{entry}\n{hash_.hex()}\n{at}".encode()
