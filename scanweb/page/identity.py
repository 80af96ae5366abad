"""What a page says of itself, so that a reader can check it: the official address and the pinned root key."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Self

from keys.keyring import fingerprint, root_spki


@dataclass(frozen=True, slots=True)
class SiteIdentity:
    """`base` is the address printed on codes. `root` is the base64 of the root key's SPKI, which `verify.js` checks the
    keyring with: 124 characters, the lines of its PEM file in one. `fingerprint` is for people to compare.
    """

    base: str
    root: str
    fingerprint: str

    @classmethod
    def of(cls, base: str, root: bytes) -> Self:
        """From the root public key in PEM. Raises KeyringError when it is not a P-256 key."""
        return cls(base, base64.b64encode(root_spki(root)).decode("ascii"), fingerprint(root))
