"""Structured logging for every process: one JSON object a line on standard error.

`time` (UTC, RFC 3339), `level`, `service`, `logger`, `message`, whatever was passed as `extra=`, and for an
error its traceback. Request addresses are not logged anywhere: uvicorn's access log stays off. A warning or error
that repeats itself is bounded: a fault under load, or a stranger sending rubbish, must not fill the disk.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, TextIO

WINDOW_SECONDS: Final = 10.0
AT_MOST: Final = 20
_DIFFERENT: Final = 500
_OWN = frozenset(vars(logging.LogRecord("", 0, "", 0, "", (), None))) | {
    "message",
    "asctime",
    "taskName",
    "color_message",
}


class JsonLines(logging.Formatter):
    """A log record as one line of JSON."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self.service = service

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its line break. Values JSON does not know are written as their text."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "service": self.service,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in _OWN}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class Repeats(logging.Filter):
    """Lets a warning or error through twenty times in ten seconds, and says afterwards how many more there were.

    The same is what has the same logger and the same words before values are put in. `clock` gives monotonic
    seconds. At most five hundred different ones are remembered.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._seen: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record may be written; it is given `suppressed` where others before it were not."""
        if record.levelno < logging.WARNING:
            return True
        key, now = (record.name, str(record.msg)[:200]), self._clock()
        began, number = self._seen.get(key, (now, 0))
        if now - began >= WINDOW_SECONDS:
            if number > AT_MOST:
                record.suppressed = number - AT_MOST
            began, number = now, 0
        if key not in self._seen and len(self._seen) >= _DIFFERENT:
            self._seen.clear()
        self._seen[key] = began, number + 1
        return number < AT_MOST


def configure(service: str, *, level: str = "INFO", stream: TextIO | None = None) -> None:
    """Send every log record of this process to `stream` (standard error) as JSON lines.

    Replaces handlers that libraries have installed. Raises ValueError on an unknown level.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines(service))
    handler.addFilter(Repeats())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    logging.getLogger("uvicorn.access").disabled = True
