"""The restored databases stand on the registry and the batches of the status tests."""

from __future__ import annotations

from tests.support.recovery_setting import service
from tests.support.status_setting import furnished, world

__all__ = ["furnished", "service", "world"]
