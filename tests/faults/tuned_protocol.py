"""The real HTTP protocol with other timeouts: `ZPCODE_TEST_ARRIVE` and `ZPCODE_TEST_TAKE`, in seconds."""

from __future__ import annotations

import os

from scanweb.server import Protocol

ARRIVE, TAKE = "ZPCODE_TEST_ARRIVE", "ZPCODE_TEST_TAKE"
__all__ = ["ARRIVE", "TAKE", "Protocol"]

Protocol.head_seconds = float(os.environ.get(ARRIVE, Protocol.head_seconds))
Protocol.take_seconds = float(os.environ.get(TAKE, Protocol.take_seconds))
