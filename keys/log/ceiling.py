"""The highest batch number and audit entry that are plausible now: what one request can move the signer's high water to.

The authority takes the high water for a witness of how far the world has come, and goes on above it. One request with the highest
number of all would leave nothing above. So there is a ceiling, and it grows with time only: repeating requests gains nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Final, NamedTuple

from keys.audit_head import MAX_ENTRY
from keys.messages import refusal
from zpcode.wire.payload import MAX_BATCH

_TWENTY_YEARS: Final = 20 * 365 * 86_400
_PERMITTED: Final = re.compile(r"([0-9]{1,16})(?:@([0-9]{4}-[0-9]{2}-[0-9]{2}))?")


class ReachedValue(NamedTuple):
    """A value that was reached, such as the first one of a log, and when (seconds since 1970; 0: not known)."""

    value: int
    at: int


NOTHING: Final = ReachedValue(0, 0)
"""A setting that permits nothing more."""


def permitted(text: str) -> ReachedValue:
    """What an operator permits: `VALUE`, or `VALUE@YYYY-MM-DD` if the authority had come so far on this day (UTC).

    Raises ValueError.
    """
    match = _PERMITTED.fullmatch(text.strip())
    try:
        value, day = match.groups() if match else ("", None)
        return ReachedValue(int(value), seconds_of(date.fromisoformat(day).isoformat()) if day else 0)
    except ValueError:
        raise ValueError("应为序号，或“序号@YYYY-MM-DD” / must be a number or NUMBER@YYYY-MM-DD") from None


@dataclass(frozen=True, slots=True)
class Ceiling:
    """How far a number may have come: `start` above the first value of the log, and `grows` in each `seconds` after it.

    `first` is the highest first value of an empty log: a signer whose log is new may serve an installation that is not. `setting`
    is the environment variable that permits more: a value that the authority has reached, from which the ceiling grows too.
    """

    zh: str
    en: str
    setting: str
    first: int
    start: int
    grows: int
    seconds: int
    maximum: int

    def highest(self, first: ReachedValue | None, now: int) -> int:
        """The highest plausible value at `now` (seconds since 1970)."""
        if first is None:
            return self.first
        elapsed = max(now - (first.at or now), 0)
        return min(first.value + self.start + elapsed * self.grows // self.seconds, self.maximum)

    def check(self, value: int, first: ReachedValue | None, now: int, permitted: ReachedValue) -> None:
        """Raises SignerError, with what to do, if `value` is above what is plausible after `first` and after `permitted`."""
        highest = self.highest(first, now)
        if permitted.value:
            highest = max(highest, self.highest(permitted, now))
        if value <= highest:
            return
        example = f"{value}@{datetime.fromtimestamp(now, UTC):%Y-%m-%d}"
        zh = (
            f"{self.zh} {value} 高于目前合理的上限 {highest}（上限只随时间增长）。若平台确已用到这么大的序号，请把签名服务的 "
            f"{self.setting} 设为“平台的最大序号@今天的日期”（如 {example}），并重启签名服务；否则说明有人冒用平台访问签名服务，请检查平台主机"
        )
        en = (
            f"{self.en} {value} is above {highest}, the highest that is plausible now (it grows with time only). If the authority has "
            f"really come so far, set {self.setting} of the signer to its highest number and today's date (such as {example}) and restart "
            "the signer; if not, somebody uses the authority's access to the signer: examine the authority's machine"
        )
        raise refusal(zh, en)


BATCHES: Final = Ceiling(
    "批次序号",
    "batch number",
    "ZPCODE_SIGNER_HIGHEST_BATCH",
    first=MAX_BATCH // 2,
    start=100_000,
    grows=MAX_BATCH + 1,
    seconds=_TWENTY_YEARS,
    maximum=MAX_BATCH,
)
"""Batch numbers are used up after twenty years at this rate: about 9000 a day."""
AUDIT_ENTRIES: Final = Ceiling(
    "审计条目",
    "audit entry",
    "ZPCODE_SIGNER_HIGHEST_AUDIT_ENTRY",
    first=1 << 39,
    start=1_000_000,
    grows=1000,
    seconds=1,
    maximum=MAX_ENTRY,
)
"""A database appends fewer than 1000 entries a second. The authority takes a number 10^8 above its own for damaged."""


def seconds_of(time: str) -> int:
    """A time of the log (ISO 8601) in seconds since 1970; 0 if it is none."""
    try:
        moment = datetime.fromisoformat(time)
    except ValueError:
        return 0
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
