"""Waiting for what another process is about to do: no sleep that is too short, none that is too long."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(question: Callable[[], T | None], seconds: float = 20) -> T:
    """The first truthy answer, asked for every 20 ms; fails where there is none within `seconds`."""
    deadline = time.monotonic() + seconds
    while not (answer := question()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
    return answer
