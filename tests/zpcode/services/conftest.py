"""A countersigned audit log."""

from __future__ import annotations

from tests.support.countersigned_log import countersigned, own_signer

__all__ = ["countersigned", "own_signer"]
