"""How every command writes a finding, a time and its progress, in both languages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from zpcode.errors import Finding
from zpcode.wire.calendar import SHANGHAI


def finding_line(finding: Finding) -> str:
    """A finding as one line: the place, the value there, and what is wrong with it."""
    value = "" if finding.value is None else f" [{finding.value}]"
    return f"- {finding.where}{value}: {finding.text.zh} / {finding.text.en}"


def withheld_lines(withheld: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """The products whose card stays as it is, a line each, with the records that differ from the audit log."""
    for gtin, names in withheld.items():
        yield (
            f"  {gtin} 的卡片保持不变：记录与审计日志不符 / the card of {gtin} stays as it is: records differ from the audit log:"
            f" {', '.join(names)} (zpcode fsck --only registry-records)"
        )


def to_second(moment: datetime) -> str:
    """A time in Asia/Shanghai with its offset, to the second. Options that take a time take it as it is printed."""
    return moment.astimezone(SHANGHAI).isoformat(" ", "seconds")


def to_minute(moment: datetime) -> str:
    """A time in Asia/Shanghai with its offset, to the minute."""
    return moment.astimezone(SHANGHAI).isoformat(" ", "minutes")


@contextmanager
def progress_bar(codes: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on standard error, if that is a terminal: in a log it would only be noise."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("生成 / writing", total=codes)
        yield lambda done: bar.update(task, completed=done)
