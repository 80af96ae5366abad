"""How every command writes a finding and a time, in both languages."""

from __future__ import annotations

from datetime import datetime

from zpcode.errors import Finding
from zpcode.wire.calendar import SHANGHAI


def finding_line(finding: Finding) -> str:
    """A finding as one line: the place, the value there, and what is wrong with it."""
    value = "" if finding.value is None else f" [{finding.value}]"
    return f"- {finding.where}{value}: {finding.text.zh} / {finding.text.en}"


def to_second(moment: datetime) -> str:
    """A time in Asia/Shanghai, to the second."""
    return f"{moment.astimezone(SHANGHAI):%Y-%m-%d %H:%M:%S}"


def to_minute(moment: datetime) -> str:
    """A time in Asia/Shanghai, to the minute."""
    return f"{moment.astimezone(SHANGHAI):%Y-%m-%d %H:%M}"
