"""Structured logging for every process: one JSON object a line on standard error.

Members: `time` (UTC, RFC 3339), `level`, `service`, `logger`, `message`, everything passed as `extra=`, and `error` with the
traceback of an error. Long texts are cut. Addresses of requests are not logged: uvicorn's access log stays off. A repeated warning or error
is limited, because a fault under load or an attacker must not fill the disk.
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
MAX_REPEATS: Final = 20
_MAX_KEYS: Final = 500
MAX_VALUE: Final = 4096
"""Characters of one text of a line. An error may repeat what a client sent, or a whole SQL statement."""
MAX_TRACEBACK: Final = 16_384
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
        """The line, without its line break. A value that JSON cannot represent is written as its `str`."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "service": self.service,
            "logger": record.name,
            "message": _cut(record.getMessage()),
        }
        line |= {name: _bounded(value) for name, value in vars(record).items() if name not in _OWN}
        if record.exc_info:
            line["error"] = _cut(self.formatException(record.exc_info), MAX_TRACEBACK)
        return json.dumps(line, ensure_ascii=False, default=str)


def _bounded(value: Any) -> Any:
    """A value as JSON has it; a text, or what only its `str` can stand for, is cut."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return _cut(value)
    text = json.dumps(value, ensure_ascii=False, default=str)
    return value if len(text) <= MAX_VALUE else _cut(text)


def _cut(text: str, most: int = MAX_VALUE) -> str:
    """The text, or its two ends with the number of characters left out: a traceback's last line says what happened."""
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]} …{len(text) - 2 * half}… {text[-half:]}"


class TerminalLines(logging.Formatter):
    """A log record as one line for the person at a terminal: its message, and what was passed as `extra=`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, with the traceback of an error."""
        text = super().format(record)
        extra = "; ".join(str(value) for name, value in vars(record).items() if name not in _OWN)
        return f"{text}: {extra}" if extra else text


class Repeats(logging.Filter):
    """Lets the same warning or error through twenty times in ten seconds, and reports later how many it suppressed.

    Two records are the same if logger and message template are equal. `clock` gives monotonic seconds. At most five hundred
    templates are remembered.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._windows: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record may be written. The first of a new window gets `suppressed`, the number that was not written."""
        if record.levelno < logging.WARNING:
            return True
        key, now = (record.name, str(record.msg)[:200]), self._clock()
        began, number = self._windows.get(key, (now, 0))
        if now - began >= WINDOW_SECONDS:
            if number > MAX_REPEATS:
                record.suppressed = number - MAX_REPEATS
            began, number = now, 0
        if key not in self._windows and len(self._windows) >= _MAX_KEYS:
            self._windows.clear()
        self._windows[key] = began, number + 1
        return number < MAX_REPEATS


def for_a_terminal() -> None:
    """A command logs warnings and errors as `TerminalLines`, unless `configure` follows: the worker is a command too."""
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(TerminalLines())


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
