"""The real HTTP protocol with other timeouts: `ZPCODE_TEST_ARRIVE` and `ZPCODE_TEST_TAKE`, in seconds."""

from __future__ import annotations

import os

from scanweb.http import bounds
from scanweb.server import Protocol

ARRIVE, TAKE = "ZPCODE_TEST_ARRIVE", "ZPCODE_TEST_TAKE"
__all__ = ["ARRIVE", "TAKE", "Protocol"]

bounds.ARRIVE_SECONDS = float(os.environ.get(ARRIVE, bounds.ARRIVE_SECONDS))  # type: ignore[misc]
bounds.TAKE_SECONDS = float(os.environ.get(TAKE, bounds.TAKE_SECONDS))  # type: ignore[misc]
