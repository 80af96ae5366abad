"""The real door with other patience: `ZPCODE_TEST_ARRIVE` and `ZPCODE_TEST_TAKE` are its two times in seconds."""

from __future__ import annotations

import os

from scanweb import door
from scanweb.server import Protocol

ARRIVE, TAKE = "ZPCODE_TEST_ARRIVE", "ZPCODE_TEST_TAKE"
__all__ = ["ARRIVE", "TAKE", "Protocol"]

door.ARRIVE_SECONDS = float(os.environ.get(ARRIVE, door.ARRIVE_SECONDS))  # type: ignore[misc]
door.TAKE_SECONDS = float(os.environ.get(TAKE, door.TAKE_SECONDS))  # type: ignore[misc]
