"""A scan process for a busy machine: what it has read from the database stays valid for longer than the machine may stall.

With the usual times a stall of 0.25 s makes a process read a card again, as it should.
"""

from __future__ import annotations

from scanweb.app import App
from scanweb.app import create_app as create
from scanweb.lookup import database, memory

REUSE_SECONDS = 3.0
FRESH_SECONDS = 60.0


def create_app() -> App:
    """The application of this process."""
    database.REUSE_SECONDS, memory.FRESH_SECONDS = REUSE_SECONDS, FRESH_SECONDS
    return create()
