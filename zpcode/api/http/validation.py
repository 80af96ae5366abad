"""Pydantic's errors as findings: a stable reason, a sentence in two languages, and a place that a person can find.

The table has every kind of error that the schemas of the API can give; a test compares it with the schemas.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from zpcode.errors import Finding, Text

MAX_FINDINGS: Final = 100

# Pydantic's kind: (reason, zh, en); {…} is filled from the error's context.
_SENTENCES: Final = {
    "missing": ("missing", "缺少这一项", "this is missing"),
    "extra_forbidden": ("unknown_member", "未知的成员，请更正名称或删除", "an unknown member; correct its name or remove it"),
    "string_type": ("type", "应为文本", "a text is expected"),
    "int_type": ("type", "应为整数，不加引号", "a whole number is expected, without quotes"),
    "int_parsing": ("type", "应为整数", "a whole number is expected"),
    "int_parsing_size": ("range", "数字过大", "the number is too large"),
    "bool_parsing": ("type", "应为 true 或 false", "true or false is expected"),
    "model_type": ("type", "应为 JSON 对象", "a JSON object is expected"),
    "model_attributes_type": ("type", "应为 JSON 对象", "a JSON object is expected"),
    "greater_than_equal": ("range", "不得小于 {ge}", "at least {ge}"),
    "less_than_equal": ("range", "不得大于 {le}", "at most {le}"),
    "string_too_short": ("length", "至少 {min_length} 个字符", "at least {min_length} characters"),
    "string_too_long": ("length", "最多 {max_length} 个字符", "at most {max_length} characters"),
    "enum": ("choice", "可选值：{expected}", "one of {expected}"),
    "day": ("format", "应为日期 YYYY-MM-DD", "a date YYYY-MM-DD is expected"),
    "moment": (
        "format",
        "应为带时区的时间，如 2026-11-21T12:00:00+08:00",
        "a time with its offset is expected, such as 2026-11-21T12:00:00+08:00",
    ),
    "index": ("type", "应为从 0 起的序号，或序列号", "an index from 0 or a serial is expected"),
    "characters": ("characters", "含有控制字符", "contains control characters"),
}  # fmt: skip
OTHER = "value"
"""The reason of a finding for a kind of error without its own sentence."""
_OTHER = (OTHER, "此处的值不符合要求", "the value does not match the schema")


def findings(errors: Sequence[Mapping[str, Any]]) -> tuple[Finding, ...]:
    """Pydantic's errors as findings, at most 100. The `loc` of each begins with body, query or header."""
    return tuple(_finding(error) for error in errors[:MAX_FINDINGS])


def _finding(error: Mapping[str, Any]) -> Finding:
    reason, zh, en = _SENTENCES.get(error["type"], _OTHER)
    context = {name: str(value).replace(" or ", ", ") for name, value in error.get("ctx", {}).items()}
    given = error.get("input")
    shown = None if error["type"] == "missing" or isinstance(given, (dict, list)) else _shown(given)
    return Finding(reason, Text(zh.format_map(context), en.format_map(context)), _where(error["loc"]), shown)


def _shown(value: object) -> str:
    try:
        return str(value)[:80]
    except ValueError:  # an integer of more digits than Python writes
        return "…"


def _where(loc: Sequence[str | int]) -> str:
    """The place of an error as a problem document names it: `/note/zh`, `?limit`, `Idempotency-Key`."""
    part, *rest = loc
    steps = [str(step) for step in rest]
    if part == "query":
        return "?" + ".".join(steps)
    if part == "header":
        return "-".join(word.capitalize() for word in ".".join(steps).replace("_", "-").split("-"))
    return "".join("/" + step[:80].replace("~", "~0").replace("/", "~1") for step in steps)
