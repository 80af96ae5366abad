"""Types that authority, scan service and signer share: states of a code, scopes of a decision, texts in two languages."""

from __future__ import annotations

import enum
from typing import Final

import msgspec


class State(enum.StrEnum):
    """The state of a code after decisions of regulators or enterprises, from the best to the worst."""

    GOOD = "good"
    FLAGGED = "flagged"
    ENDED = "ended"
    SUSPENDED = "suspended"
    RECALLED = "recalled"
    REVOKED = "revoked"


SEVERITY: Final = {state: rank for rank, state in enumerate(State)}


class Scope(enum.StrEnum):
    """What a decision applies to, from the narrowest (one item) to the widest (all codes of a signing key)."""

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


class Bilingual(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A text in Chinese, and in English if there is one."""

    zh: str = ""
    en: str = ""
