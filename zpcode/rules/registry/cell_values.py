"""Read the value of one cell as typed by a person: full-width digits, Excel's dates, a GTIN without its leading zero.

`read(field, raw, today)` takes the value of a spreadsheet or JSON parser (text, number, boolean, date, list, None) and
returns the value of the field, or raises `Refused` with one finding.

Identifiers, dates and figures are normalised (NFKC), so full-width characters become half-width. In prose only letters
and digits do; its Chinese punctuation stays.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Final

from zpcode.errors import refusal
from zpcode.language import visible
from zpcode.language.normalization import normalized
from zpcode.rules.registry import identifiers
from zpcode.rules.registry.layout import CellKind, Field
from zpcode.wire.quantity import is_nothing

MAX_CHARACTERS: Final = 10_000
MAX_QUOTA: Final = 10**12
_EXACT = 10**15  # a spreadsheet stores whole numbers exactly up to 15 digits
_EXCEL_EPOCH = date(1899, 12, 30)
_EARLIEST, _LATEST = date(1949, 10, 1), date(2199, 12, 31)
_SPACES = re.compile(r"[\s\u00a0\u3000]+")
_ESCAPES = re.compile("_x000[dDaA9]_")  # control characters in a spreadsheet's XML
_DATE = re.compile(
    r"([0-9]{4})\s*[-/.年]\s*([0-9]{1,2})\s*[-/.月]\s*([0-9]{1,2})\s*日?(?:[T ][0-9:.]{4,15}Z?)?", re.ASCII
)
_SOLID_DATE = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})", re.ASCII)
_SCIENTIFIC = re.compile(r"([0-9](?:\.[0-9]{1,30})?)[eE]\+?([0-9]{1,2})", re.ASCII)
_SEPARATORS = re.compile(r"[;,、\n]+")
_YES: Final = frozenset({"是", "y", "yes", "true", "1", "✓", "✔", "√", "☑", "有", "对"})
_NO: Final = frozenset({"否", "n", "no", "false", "0", "×", "✗", "✘", "x", "☐", "无", "-", "—", "/"})
_WIDE = {code: code - 0xFEE0 for code in (*range(0xFF10, 0xFF1A), *range(0xFF21, 0xFF3B), *range(0xFF41, 0xFF5B))}
_DROPPED = {"Cc", "Cs", "Cf"}  # control, lone surrogate, invisible format characters


def clean(text: str, *, lines: bool = False) -> str:
    """Text without control, format and lone surrogate characters, with single blanks, stripped; empty if it shows nothing.

    `lines` keeps line breaks. The result can be stored as UTF-8 and shown safely.
    """
    plain = _ESCAPES.sub("\n", text).translate(_WIDE)
    kept = "".join(one for one in plain if one in "\n\t\r" or unicodedata.category(one) not in _DROPPED)
    rows = kept.splitlines() if lines else (kept,)
    return "\n".join(_SPACES.sub(" ", row).strip() for row in rows if not visible.is_blank(row))


def clean_code(text: str) -> str:
    """Text of an identifier: NFKC, then as `clean`. Raises Refused if it has too many combining marks."""
    return clean(visible.check_marks(normalized("NFKC", text)))


def as_text(raw: object) -> str:
    """The text of a cell as a person sees it. Raises Refused if the spreadsheet has changed the typed text."""
    if raw is None:
        return ""
    if isinstance(raw, bool):
        return "TRUE" if raw else "FALSE"
    if isinstance(raw, (int, float)):
        return _figure(raw)
    if isinstance(raw, (date, time, timedelta)):
        raise refusal(
            "became_a_date",
            "电子表格把这里的内容变成了日期或时间，请把单元格格式设为“文本”后重新填写",
            "the spreadsheet turned this into a date or time; format the cell as text and type it again",
        )
    if not isinstance(raw, str):
        raise refusal("shape", "这里应为文字", "a text is expected here")
    if len(raw) > MAX_CHARACTERS:
        raise refusal(
            "too_long",
            f"内容超过 {MAX_CHARACTERS} 个字符",
            f"more than {MAX_CHARACTERS} characters in one cell",
        )
    return raw


def _figure(raw: float) -> str:
    if isinstance(raw, float) and raw.is_integer() and abs(raw) < _EXACT:
        return str(int(raw))
    if isinstance(raw, float) or abs(raw) < _EXACT:
        return format(raw, ".15g")
    raise _digits_lost()


def _digits_lost() -> Exception:
    return refusal(
        "digits_lost",
        "数字以科学计数法保存，后面的位数已丢失；请把单元格格式设为“文本”后按原件重新填写",
        "saved in scientific notation, which lost digits; format the cell as text and type it again from the original",
    )


def _unscientific(text: str) -> str:
    """`6.901234567892E+12` in full. Raises Refused if digits of the number were lost."""
    match = _SCIENTIFIC.fullmatch(text)
    if match is None:
        return text
    digits, exponent = match[1].replace(".", ""), int(match[2])
    if len(digits.rstrip("0")) < 7 or len(digits) > exponent + 1:
        raise _digits_lost()
    return digits.ljust(exponent + 1, "0")


def _code(raw: object) -> str:
    if isinstance(raw, float) and abs(raw) >= _EXACT:
        raise _digits_lost()
    return clean_code(as_text(raw))


def _number_code(raw: object) -> str:
    return _unscientific(_code(raw).upper())


def read_date(raw: object) -> date:
    """A date from a spreadsheet's date, its serial number, `2026-01-05`, `2026/1/5`, `2026.1.5`, `2026年1月5日`."""
    day = raw.date() if isinstance(raw, datetime) else raw
    if not isinstance(day, date):
        day = _date_in(_code(raw))
    if not _EARLIEST <= day <= _LATEST:
        raise refusal("date", "日期超出合理范围（1949 至 2199 年）", "the year is out of bounds (1949 to 2199)")
    return day


def _date_in(text: str) -> date:
    match = _DATE.fullmatch(text) or _SOLID_DATE.fullmatch(text)
    try:
        if match is not None:
            return date(int(match[1]), int(match[2]), int(match[3]))
        if re.fullmatch("[2-7][0-9]{4}", text):
            return _EXCEL_EPOCH + timedelta(days=int(text))
    except ValueError as error:
        raise refusal("date", "没有这一天", "there is no such day") from error
    raise refusal("date", "不是日期，请写作 2026-01-05", "not a date; write it as 2026-01-05")


def read_yes_no(raw: object) -> bool:
    """是, Y, ✓, 1 … or 否, N, ×, 0 …."""
    word = _code(raw).casefold()
    if word in _YES or word in _NO:
        return word in _YES
    raise refusal("yes_no", "请填“是”或“否”", "write yes or no")


def read_count(raw: object) -> int:
    """A whole number from 0 to 10^12; thousands separators are ignored."""
    try:
        number = Decimal(_code(raw).replace(",", "").replace(" ", ""))
    except InvalidOperation:
        number = Decimal("NaN")
    if number.is_finite() and 0 <= number <= MAX_QUOTA and number == int(number):
        return int(number)
    raise refusal("count", "应为 0 至 10^12 的整数", "a whole number from 0 to 10^12 is expected")


def read_codes(raw: object) -> tuple[str, ...]:
    """Several identifiers without repeats, from a list or from a text with semicolons, commas or line breaks."""
    parts = raw if isinstance(raw, list) else _SEPARATORS.split(normalized("NFKC", as_text(raw)))
    return tuple(dict.fromkeys(code for code in (_code(part) for part in parts) if code))


def read_choice(field: Field, raw: object) -> str:
    """One word of an enumeration, given by its code or in Chinese or English, in upper or lower case."""
    word = _folded(_code(raw))
    for choice in field.choices:
        if word in {_folded(choice.code), _folded(choice.zh), _folded(choice.en)}:
            return choice.code
    zh = "、".join(choice.zh for choice in field.choices)
    en = ", ".join(choice.en for choice in field.choices)
    raise refusal("choice", f"应为以下之一：{zh}", f"expected: one of {en}")


def _folded(text: str) -> str:
    return re.sub(r"[\s_-]", "", normalized("NFKC", text)).casefold()


_READERS: Final[dict[CellKind, Callable[[object], object]]] = {
    CellKind.TEXT: lambda raw: clean(visible.check_marks(as_text(raw))),
    CellKind.PROSE: lambda raw: clean(visible.check_marks(as_text(raw)), lines=True),
    CellKind.CODE: _code,
    CellKind.USCC: lambda raw: identifiers.uscc(_number_code(raw)),
    CellKind.GTIN: lambda raw: identifiers.gtin(_number_code(raw)),
    CellKind.REGION: lambda raw: identifiers.region(_code(raw)),
    CellKind.INDUSTRY: lambda raw: identifiers.industry(_code(raw)),
    CellKind.URL: lambda raw: identifiers.url(_code(raw)),
    CellKind.FILE: lambda raw: identifiers.file_name(clean(as_text(raw))),
    CellKind.PHONE: lambda raw: identifiers.phone(_code(raw)),
    CellKind.EMAIL: lambda raw: identifiers.email(_code(raw)),
    CellKind.DATE: read_date,
    CellKind.YES_NO: read_yes_no,
    CellKind.COUNT: read_count,
    CellKind.VALUE: lambda raw: clean(visible.check_marks(as_text(raw))),
}


def is_blank(raw: object) -> bool:
    """Whether a cell is empty or has only blanks."""
    return raw is None or raw == [] or (isinstance(raw, str) and len(raw) <= MAX_CHARACTERS and not clean(raw))


def read(field: Field, raw: object, today: date) -> object:
    """The value of one cell that is not blank. Raises Refused with one finding."""
    if field.kind is CellKind.REGISTRATION:
        return identifiers.registration(_code(raw), today)
    if field.kind is CellKind.CHOICE:
        return read_choice(field, raw)
    value = read_codes(raw) if field.kind is CellKind.CODES else _READERS[field.kind](raw)
    if field.kind is CellKind.VALUE and not field.required and is_nothing(str(value)):
        return ""
    length = sum(map(len, value)) if isinstance(value, tuple) else len(value) if isinstance(value, str) else 0
    if length > field.limit:
        raise refusal(
            "too_long",
            f"最多 {field.limit} 个字符，这里有 {length} 个",
            f"at most {field.limit} characters, this has {length}",
        )
    return value
