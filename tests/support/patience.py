"""Waiting for another process: polling instead of a sleep that is too short or too long."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(question: Callable[[], T | None], seconds: float = 60) -> T:
    """The first true result of `question`, called every 20 ms; fails if there is none within `seconds`."""
    deadline = time.monotonic() + seconds
    while not (answer := question()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
    return answer
