"""The restored databases stand on the registry and the batches of the status tests."""

from __future__ import annotations

from tests.support.recovery_setting import furnished, service

__all__ = ["furnished", "service"]
