"""Import journey events from a CSV file: its columns, its limits, and the locations of findings.

    gtin, lot       the lot of the event, or
    batch           the number of the batch of codes
    kind            produced … or 生产 …, as in `zpcode.rules.journey`
    at              2026-10-08, 2026/10/8, 2026-10-08 14:30 (Asia/Shanghai), or a time with its offset
    place_zh, place_en, by_zh, by_en, note_zh, note_en, document

UTF-8 with a header row. Columns may be in any order; optional columns may be missing.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final, NamedTuple

from zpcode.errors import Finding, Findings, ImportRefused, Refused, Text
from zpcode.language.normalization import normalized
from zpcode.rules import journey as rules
from zpcode.rules.access import Caller
from zpcode.rules.journey import EventRequest, Subject
from zpcode.services.journey import events
from zpcode.services.journey.events import RecordedEvents
from zpcode.store.database.session import Engine
from zpcode.wire.calendar import SHANGHAI_SUFFIX
from zpcode.wire.gs1 import gtin14, is_lot
from zpcode.wire.payload import MAX_BATCH
from zpcode.wire.vocabulary import Bilingual

MAX_BYTES: Final = 4 * 1024 * 1024
MAX_ROWS: Final = 2000
COLUMNS: Final = (
    "gtin", "lot", "batch", "kind", "at", "place_zh", "place_en", "by_zh", "by_en", "note_zh", "note_en", "document",
)  # fmt: skip
_NEEDED: Final = ("kind", "at")
_KINDS: Final = {text.zh: kind for kind, text in rules.KINDS.items()} | {"到货": "received"}
_LOCAL = re.compile(r"([0-9]{4})[-/]([0-9]{1,2})[-/]([0-9]{1,2})(?:[ T]([0-9]{1,2}):([0-9]{2})(:[0-9]{2})?)?", re.ASCII)


class EventRow(NamedTuple):
    """One row: its last line, the subject of the event (None if unreadable), and the event."""

    line: int
    subject: Subject | None
    request: EventRequest


def import_events(
    engine: Engine, data: bytes, *, caller: Caller, now: datetime, dry_run: bool = False
) -> RecordedEvents:
    """Record all events of a file, or none. With `dry_run` everything is rolled back.

    Raises ImportRefused with every finding, Forbidden, Conflict, Unavailable.
    """
    findings = Findings()
    rows = list(_rows(data, findings))
    without_subject = [row for row in rows if row.subject is None]
    findings.items += rules.examine(
        [row.request for row in without_subject], now, lambda number, field: _where(without_subject[number].line, field)
    ).items
    with_subject = [(row.line, row.subject, row.request) for row in rows if row.subject is not None]
    if not rows and not findings.items:
        findings.add("empty", "文件中没有任何事件", "there are no events in the file")
    try:
        return events.record_all(
            engine,
            [(subject, request) for _, subject, request in with_subject],
            findings,
            caller=caller,
            now=now,
            where=lambda number, field: _where(with_subject[number][0], field),
            dry_run=dry_run,
        )
    except Refused as refused:
        if type(refused) is not Refused:
            raise
        count = len(refused.findings)
        text = Text(
            f"事件文件有 {count} 处问题，未写入任何内容；请逐条更正后重新导入",
            f"{count} findings in the file of events, nothing was written; correct them and import it again",
        )
        raise ImportRefused(text, refused.findings) from refused


def _where(line: int, field: str) -> str:
    return f"第 {line} 行 row {line}, {field.replace('/', '_')}"


def _rows(data: bytes, findings: Findings) -> Iterator[EventRow]:
    reader = csv.reader(io.StringIO(_text(data), newline=""), strict=True)
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        _check_header(header)
        count = 0
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            count += 1
            if count > MAX_ROWS:
                raise _refusal(
                    "rows", f"最多 {MAX_ROWS} 行，请分成几个文件", f"at most {MAX_ROWS} rows; split the file"
                )
            if len(cells) > len(header):
                findings.add("cells", "此行的单元格多于表头，含逗号的内容须加引号",
                             "more cells than the header has; put quotes around a text with a comma",
                             where=_where(reader.line_num, "*"), value=cells[len(header)])  # fmt: skip
            yield _row(reader.line_num, dict(zip(header, cells, strict=False)), findings)
    except csv.Error as error:
        raise _refusal(
            "csv", f"第 {reader.line_num} 行不是 CSV：{error}", f"row {reader.line_num} is not CSV: {error}"
        ) from error


def _text(data: bytes) -> str:
    if len(data) > MAX_BYTES:
        raise _refusal("too-large", "文件超过 4 MB，请分成几个文件", "the file is larger than 4 MB; split it")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _refusal(
            "encoding",
            "不是 UTF-8 编码；请在 Excel 中另存为“CSV UTF-8”",
            'it is not UTF-8; save it as "CSV UTF-8" in Excel',
        ) from error


def _check_header(header: Sequence[str]) -> None:
    unknown = [name for name in header if name not in COLUMNS]
    missing = [name for name in _NEEDED if name not in header]
    if "batch" not in header and not {"gtin", "lot"} <= set(header):
        missing.append("batch | gtin, lot")
    if unknown or missing or len(set(header)) != len(header):
        raise _refusal(
            "header",
            f"表头应为 {', '.join(COLUMNS)}；缺少 {', '.join(missing) or '—'}，多出 {', '.join(unknown)[:80] or '—'}",
            f"the columns of the header are {', '.join(COLUMNS)}; missing: {', '.join(missing) or '—'},"
            f" unknown: {', '.join(unknown)[:80] or '—'}",
        )


def _refusal(reason: str, zh: str, en: str) -> ImportRefused:
    text = Text(zh, en)
    return ImportRefused(text, (Finding(reason, text),))


def _row(line: int, cells: Mapping[str, str], findings: Findings) -> EventRow:
    def plain(name: str) -> str:
        """A cell of letters and digits; full-width ones (from an input method) become half-width."""
        try:
            return normalized("NFKC", cells.get(name, "")).strip()
        except Refused as refused:
            where, value = _where(line, name), cells[name][:80]
            findings.items += [replace(finding, where=where, value=value) for finding in refused.findings]
            return ""

    kind = plain("kind")
    request = EventRequest(
        kind=_KINDS.get(kind, kind.lower()),
        at=_moment(plain("at")),
        place=_bilingual(cells, "place"),
        by=_bilingual(cells, "by"),
        note=_bilingual(cells, "note"),
        document=cells.get("document", "").strip(),
    )
    return EventRow(line, _subject(line, plain("batch"), plain("gtin"), plain("lot").upper(), findings), request)


def _bilingual(cells: Mapping[str, str], name: str) -> Bilingual:
    return Bilingual(cells.get(f"{name}_zh", "").strip(), cells.get(f"{name}_en", "").strip())


def _moment(text: str) -> str:
    """A time as typed or from a spreadsheet, in the format of the rules; any other text unchanged."""
    match = _LOCAL.fullmatch(text)
    if match is None:
        return text
    day = f"{match[1]}-{int(match[2]):02}-{int(match[3]):02}"
    return day if match[4] is None else f"{day}T{int(match[4]):02}:{match[5]}{match[6] or ''}{SHANGHAI_SUFFIX}"


def _subject(line: int, batch: str, gtin: str, lot: str, findings: Findings) -> Subject | None:
    if bool(batch) == bool(gtin or lot):
        findings.add("subject", "请填写 batch，或填写 gtin 和 lot，二者择一", "give batch, or gtin and lot, and not both",
                     where=_where(line, "batch"), value=batch or None)  # fmt: skip
        return None
    if batch:
        if batch.isascii() and batch.isdigit() and len(batch) <= 8 and 1 <= int(batch) <= MAX_BATCH:
            return Subject(int(batch))
        findings.add("batch", "批次序号应为 1 至 67108863 的整数", "a batch's number is a whole number from 1 to 67108863",
                     where=_where(line, "batch"), value=batch)  # fmt: skip
        return None
    product = gtin14(gtin)
    if product is None:
        findings.add("gtin", "不是有效的商品条码，请核对校验位", "it is not a GTIN; check its check digit",
                     where=_where(line, "gtin"), value=gtin)  # fmt: skip
    if not is_lot(lot):
        findings.add("lot", "批号应为 1 至 20 个 0-9 A-Z . - 字符", "a lot is 1 to 20 of 0-9 A-Z . -",
                     where=_where(line, "lot"), value=lot)  # fmt: skip
    return None if product is None or not is_lot(lot) else Subject(gtin=product, lot=lot)
