"""The words that authority, scan service and signer share: states of a code, scopes of a decision, texts in two languages."""

from __future__ import annotations

import enum
from typing import Final

import msgspec


class State(enum.StrEnum):
    """What a regulator's or an enterprise's decision makes of a code, from good to worst."""

    GOOD = "good"
    FLAGGED = "flagged"
    ENDED = "ended"
    SUSPENDED = "suspended"
    RECALLED = "recalled"
    REVOKED = "revoked"


SEVERITY: Final = {state: rank for rank, state in enumerate(State)}


class Scope(enum.StrEnum):
    """What a decision reaches, from one item to everything under a signing key."""

    CODE = "code"
    RANGE = "range"
    LOT = "lot"
    BATCH = "batch"
    PRODUCT = "product"
    RECOGNITION = "recognition"
    CERTIFICATE = "certificate"
    STANDARD = "standard"
    ENTERPRISE = "enterprise"
    KEY = "key"


class Bilingual(msgspec.Struct, frozen=True, omit_defaults=True):
    """A registry text in Chinese, and in English where the enterprise gave one."""

    zh: str = ""
    en: str = ""
