"""Fixtures of the tests of status changes: a database with an enterprise and its batches."""

from __future__ import annotations

from tests.support.status_setting import furnished, world

__all__ = ["furnished", "world"]
