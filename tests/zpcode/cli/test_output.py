"""Times on the command line say their zone, and can be pasted into an option."""

from __future__ import annotations

from datetime import UTC, datetime

from zpcode.cli.output import to_minute, to_second
from zpcode.cli.status import moment


def test_a_time_is_that_of_shanghai_with_its_offset() -> None:
    at = datetime(2026, 11, 30, 16, 0, 5, 999, tzinfo=UTC)
    assert to_second(at) == "2026-12-01 00:00:05+08:00"
    assert to_minute(at) == "2026-12-01 00:00+08:00"


def test_a_printed_time_is_taken_by_an_option() -> None:
    at = datetime(2026, 11, 30, 16, 0, 5, tzinfo=UTC)
    assert moment(to_second(at)) == at
