"""The identity of the site that every page states, so that a reader can check it: official address and root key."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Self

from keys.keyring import fingerprint, root_spki


@dataclass(frozen=True, slots=True)
class SiteIdentity:
    """`base` is the address printed on codes. `root` is the base64 of the root key's SPKI (124 characters, the body of its
    PEM file in one line), with which `verify.js` checks the keyring. `fingerprint` is for people to compare.
    """

    base: str
    root: str
    fingerprint: str

    @classmethod
    def of(cls, base: str, root: bytes) -> Self:
        """Read the root public key (PEM). Raises KeyringError where it is not a P-256 key."""
        return cls(base, base64.b64encode(root_spki(root)).decode("ascii"), fingerprint(root))
