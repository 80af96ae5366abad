"""A scan process whose wall clock is wrong by `ZPCODE_TEST_CLOCK_SECONDS`; otherwise the real application."""

from __future__ import annotations

import os
import time

from scanweb.app import App
from scanweb.app import create_app as create

VARIABLE = "ZPCODE_TEST_CLOCK_SECONDS"


def create_app() -> App:
    """The application of this process; every part of it reads the time of day from `time.time`."""
    real, wrong_by = time.time, float(os.environ[VARIABLE])
    time.time = lambda: real() + wrong_by
    return create()
