"""The journey of goods: which events may be recorded for a batch or a lot, and which of them a scan shows.

Each kind maps to business steps of EPCIS 2.0 (GS1 Core Business Vocabulary 2.0, `bizStep`):

    produced    commissioning      also assembling, creating_class_instance
    inspected   inspecting         also sampling
    packed      packing            also repackaging
    stored      storing            also stocking, holding
    shipped     shipping           also departing, consigning, transporting, loading
    received    receiving          also arriving, accepting, unloading
    other       other              everything else

An event belongs to a whole batch of codes or a whole lot of goods, never to a single item: that would need a row for
each code. Events are never altered or deleted. A wrong event is superseded by another event or withdrawn with a reason;
then it is no longer shown.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from typing import Any, Final

from zpcode.errors import Conflict, Finding, Findings, Forbidden, Text
from zpcode.language.visible import text_fault
from zpcode.rules.access import Caller, Role
from zpcode.wire.calendar import SHANGHAI, seconds, today
from zpcode.wire.card import MAX_JOURNEY, TraceEvent
from zpcode.wire.vocabulary import Bilingual

MAX_TEXT: Final = 200
MAX_DOCUMENT: Final = 100
MAX_EVENTS: Final = 500
"""Events of one batch or lot that the enterprise may report; the operator may report as many."""
OPERATOR_SHOWN: Final = 10
_RECORDERS: Final = {Role.ENTERPRISE: Text("企业", "the enterprise"), Role.OPERATOR: Text("平台运营方", "the operator")}
SKEW: Final = timedelta(minutes=10)
EARLIEST: Final = date(2000, 1, 1)
DAY, MINUTE = "day", "minute"
NO_TEXT: Final = Bilingual()
KINDS: Final[dict[str, Text]] = {
    "produced": Text("生产", "produced"),
    "inspected": Text("检验", "inspected"),
    "packed": Text("包装", "packed"),
    "stored": Text("入库", "stored"),
    "shipped": Text("发货", "shipped"),
    "received": Text("收货", "received"),
    "other": Text("其他", "other"),
}
BIZ_STEPS: Final = {
    "produced": "commissioning",
    "inspected": "inspecting",
    "packed": "packing",
    "stored": "storing",
    "shipped": "shipping",
    "received": "receiving",
    "other": "other",
}
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?(Z|[+-][0-9]{2}:[0-9]{2})", re.ASCII
)
_INVISIBLE: Final = {"Cc", "Cf", "Cs", "Zl", "Zp"}
Where = Callable[[int, str], str]


@dataclass(frozen=True, slots=True, order=True)
class Subject:
    """The subject of events: a batch by its number, or a lot by GTIN-14 and AI 10 (then `batch` is 0)."""

    batch: int = 0
    gtin: str = ""
    lot: str = ""

    @property
    def name(self) -> str:
        """The name of the subject in the audit log."""
        return f"batch:{self.batch}" if self.batch else f"lot:{self.gtin}:{self.lot}"


@dataclass(frozen=True, slots=True)
class EventRequest:
    """A reported event. `at` is YYYY-MM-DD, or a time with its offset (RFC 3339), stored to the minute.

    `supersedes` is the number of an event of the same batch or lot that this event replaces.
    """

    kind: str
    at: str
    place: Bilingual = NO_TEXT
    by: Bilingual = NO_TEXT
    note: Bilingual = NO_TEXT
    document: str = ""
    supersedes: int | None = None


@dataclass(frozen=True, slots=True)
class JourneyEvent:
    """A recorded event. It counts unless `withdrawn_at` is set or another event supersedes it."""

    id: int
    subject: Subject
    uscc: str
    kind: str
    at: datetime
    precision: str
    place: Bilingual
    by: Bilingual
    note: Bilingual
    document: str
    supersedes: int | None
    recorded_by: str
    recorded_at: datetime
    withdrawn_at: datetime | None = None
    withdrawn_by: str = ""
    withdrawal: str = ""

    @property
    def content(self) -> tuple[Any, ...]:
        """The content of the event: two events of one subject with the same content are the same event."""
        return (self.kind, self.at, self.precision, self.place, self.by, self.note, self.document, self.supersedes)

    def trace_event(self) -> TraceEvent:
        """The event in the format of a card."""
        return TraceEvent(self.kind, seconds(self.at), self.precision, self.place, self.by, self.note, self.document)


def moment(text: str) -> tuple[datetime, str] | None:
    """The time in a text and its precision (`DAY` or `MINUTE`); None if the text is neither a day nor a time.

    A day is returned as its midnight in Asia/Shanghai.
    """
    try:
        if _DAY.fullmatch(text):
            return datetime.combine(date.fromisoformat(text), time(), SHANGHAI).astimezone(UTC), DAY
        if _MOMENT.fullmatch(text):
            return datetime.fromisoformat(text).astimezone(UTC).replace(second=0, microsecond=0), MINUTE
    except (OverflowError, ValueError):
        pass
    return None


def may_record(caller: Caller) -> None:
    """Raise Forbidden for a regulator: only an enterprise (about its own goods) and the operator report events."""
    if caller.role is Role.REGULATOR:
        text = Text("监管账号不能填报流转事件", "a regulator does not report events of the journey")
        raise Forbidden(text, (Finding("role", text),))


def examine(requests: Sequence[EventRequest], now: datetime, where: Where) -> Findings:
    """All findings about these requests. `where` names the location of a field of the n-th request, from 0."""
    findings = Findings()
    for number, request in enumerate(requests):
        _check(request, now, findings, partial(where, number))
    return findings


def _check(request: EventRequest, now: datetime, findings: Findings, where: Callable[[str], str]) -> None:
    if request.kind not in KINDS:
        kinds = ", ".join(KINDS)
        findings.add("kind", f"没有这一环节，可选：{kinds}", f"there is no such kind; use {kinds}",
                     where=where("kind"), value=request.kind)  # fmt: skip
    _check_time(request.at, now, findings, where("at"))
    for name, text in (("place", request.place), ("by", request.by), ("note", request.note)):
        _check_text(text.zh, MAX_TEXT, findings, where(f"{name}/zh"))
        _check_text(text.en, MAX_TEXT, findings, where(f"{name}/en"))
        if text.en.strip() and not text.zh.strip():
            findings.add(
                "chinese",
                "填写英文的，须同时填写中文",
                "an English text needs a Chinese text too",
                where=where(f"{name}/zh"),
            )
    _check_text(request.document, MAX_DOCUMENT, findings, where("document"))


def _check_time(text: str, now: datetime, findings: Findings, where: str) -> None:
    parsed = moment(text)
    if parsed is None:
        findings.add("time", "须写作 2026-10-08，或带时区的时间 2026-10-08T14:30:00+08:00",
                     "write 2026-10-08, or a time with its offset, 2026-10-08T14:30:00+08:00", where=where, value=text)  # fmt: skip
        return
    at, precision = parsed
    if (at.astimezone(SHANGHAI).date() > today(now)) if precision == DAY else at > now + SKEW:
        findings.add("time-future", "尚未发生，请在发生后填报", "it has not happened yet; report it when it has",
                     where=where, value=text)  # fmt: skip
    elif at.astimezone(SHANGHAI).date() < EARLIEST:
        findings.add("time-past", "早于 2000-01-01，请核对年份", "it is before 2000-01-01; check the year",
                     where=where, value=text)  # fmt: skip


def _check_text(text: str, most: int, findings: Findings, where: str) -> None:
    if len(text) > most:
        findings.add("too-long", f"最多 {most} 个字符", f"at most {most} characters", where=where, value=text)
    if any(unicodedata.category(character) in _INVISIBLE for character in text):
        findings.add("characters", "含有控制字符，请删除", "contains control characters; remove them",
                     where=where, value=ascii(text))  # fmt: skip
    fault = text_fault(text[: most + 1])
    if fault is not None:
        findings.add(fault[0], fault[1].zh, fault[1].en, where=where, value=ascii(text))


def check_reason(reason: str) -> None:
    """Raise Refused for a withdrawal without a reason, or with a reason too long or with control characters."""
    findings = Findings()
    if not reason.strip():
        findings.add("reason", "撤回须写明原因", "a withdrawal needs a reason", where="/reason")
    _check_text(reason, MAX_TEXT, findings, "/reason")
    findings.refuse("撤回申请有误", "the withdrawal is not right")


def new_event(request: EventRequest, subject: Subject, uscc: str, recorded_by: str, now: datetime) -> JourneyEvent:
    """The event of a request that passed `examine`; its number is still 0."""
    parsed = moment(request.at)
    if parsed is None:
        raise ValueError(request.at)
    return JourneyEvent(
        id=0,
        subject=subject,
        uscc=uscc,
        kind=request.kind,
        at=parsed[0],
        precision=parsed[1],
        place=_stripped(request.place),
        by=_stripped(request.by),
        note=_stripped(request.note),
        document=request.document.strip(),
        supersedes=request.supersedes,
        recorded_by=recorded_by,
        recorded_at=now,
    )


def _stripped(text: Bilingual) -> Bilingual:
    return Bilingual(text.zh.strip(), text.en.strip())


def standing(events: Iterable[JourneyEvent]) -> list[JourneyEvent]:
    """The events that still count (neither withdrawn nor superseded), in order of time."""
    recorded = list(events)
    superseded = {event.supersedes for event in recorded}
    counting = [event for event in recorded if event.withdrawn_at is None and event.id not in superseded]
    return sorted(counting, key=lambda event: (event.at, event.id))


def on_record(events: Iterable[JourneyEvent]) -> list[JourneyEvent]:
    """The events that still count, and the events that they superseded. A report with the content of one is a repetition.

    An event whose correction was withdrawn is not returned: it may be reported again.
    """
    by_number = {event.id: event for event in events}
    kept: list[JourneyEvent] = []
    for last in standing(by_number.values()):
        event: JourneyEvent | None = last
        while event is not None:
            kept.append(event)
            event = by_number.get(event.supersedes or 0)
    return [event for event in kept if event.withdrawn_at is None]


def shown_events(events: Iterable[JourneyEvent]) -> tuple[TraceEvent, ...]:
    """The events that a card shows, of all events of a batch and its lot, in order of time; at most 30.

    The first production, the operator's newest 10, and the newest of all: an enterprise with many events does not
    displace those of the operator.
    """
    kept = standing(events)
    first = [event for event in kept if event.kind == "produced"][:1]
    operators = [event for event in reversed(kept) if event.recorded_by.startswith(f"{Role.OPERATOR}:")][
        :OPERATOR_SHOWN
    ]
    chosen = dict.fromkeys((*first, *operators, *reversed(kept)))
    numbers = {event.id for event in list(chosen)[:MAX_JOURNEY]}
    return tuple(event.trace_event() for event in kept if event.id in numbers)


def check_number(recorded: Iterable[JourneyEvent], new: int, subject: Subject, caller: Caller) -> None:
    """Raise Conflict if the caller's role would have more than 500 events of a batch or lot: each role has its own share."""
    own = sum(event.recorded_by.startswith(f"{caller.role}:") for event in recorded)
    if own + new <= MAX_EVENTS:
        return
    who = _RECORDERS[caller.role]
    text = Text(
        f"{who.zh}对 {subject.name} 填报的事件已满 {MAX_EVENTS} 条，不能再填报",
        f"{who.en} has reported {MAX_EVENTS} events of {subject.name} already",
    )
    raise Conflict(text, (Finding("too-many-events", text),))


def audit_detail(event: JourneyEvent) -> dict[str, Any]:
    """The whole event, for the audit log."""
    return {
        "event": event.id,
        "kind": event.kind,
        "at": event.at.isoformat(),
        "precision": event.precision,
        "place": {"zh": event.place.zh, "en": event.place.en},
        "by": {"zh": event.by.zh, "en": event.by.en},
        "note": {"zh": event.note.zh, "en": event.note.en},
        "document": event.document,
        "supersedes": event.supersedes,
        "uscc": event.uscc,
    }
