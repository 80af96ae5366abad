"""The types of texts, dates and numbers in a request. Each is bounded before its content is examined."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, date, datetime
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, StringConstraints
from pydantic_core import PydanticCustomError

from zpcode.wire.gs1 import gtin14
from zpcode.wire.payload import MAX_BATCH

MAX_INDEX: Final = 10**9
MAX_SERIAL: Final = 64
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
MAX_WORDS: Final = 2000
_FORBIDDEN: Final = {"Cc", "Cs"}  # NUL and lone surrogates: PostgreSQL stores neither


def _printable(text: str) -> str:
    if any(unicodedata.category(character) in _FORBIDDEN for character in text):
        raise PydanticCustomError("characters", "contains control characters")
    return text


def _paragraphs(text: str) -> str:
    _printable(text.translate({ord(one): None for one in "\r\n\t"}))
    return text


def _day(value: Any) -> date | None:
    """A date, only from a text: Pydantic would read a number as seconds since 1970."""
    if value is None:
        return None
    try:
        return date.fromisoformat(value if _DAY.fullmatch(value) else "")
    except (TypeError, ValueError):
        raise PydanticCustomError("day", "not a date") from None


def _moment(value: Any) -> datetime | None:
    """A time with its offset (RFC 3339), only from a text."""
    if value is None:
        return None
    try:
        local = datetime.fromisoformat(value)
        moment = None if local.utcoffset() is None else local.astimezone(UTC)
    except (OverflowError, TypeError, ValueError):
        moment = None
    if moment is None:
        raise PydanticCustomError("moment", "not a time with an offset")
    return moment


def _index(value: Any) -> int | str | None:
    """An end of a range: an index from 0, or a serial."""
    counted = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MAX_INDEX
    if value is None or counted or (isinstance(value, str) and len(value) <= MAX_SERIAL):
        return _printable(value) if isinstance(value, str) else value
    raise PydanticCustomError("index", "neither an index nor a serial")


def _gtin(text: str) -> str:
    """A GTIN-8, -12 or -13 as 14 digits; any other text unchanged, for the rules to refuse."""
    return gtin14(text) or text


# The length is checked before the characters, so that a text that is too long is not examined.
Short = Annotated[str, StringConstraints(strict=True, max_length=100), AfterValidator(_printable)]
Long = Annotated[str, StringConstraints(strict=True, max_length=512), AfterValidator(_printable)]
Words = Annotated[str, StringConstraints(strict=True, max_length=MAX_WORDS), AfterValidator(_paragraphs)]
Key = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=200), AfterValidator(_printable)]
Gtin = Annotated[str, StringConstraints(strict=True, max_length=20), AfterValidator(_printable), AfterValidator(_gtin)]
Day = Annotated[date | None, BeforeValidator(_day, json_schema_input_type=str | None)]
Moment = Annotated[datetime | None, BeforeValidator(_moment, json_schema_input_type=str | None)]
Index = Annotated[int | str | None, PlainValidator(_index, json_schema_input_type=int | str | None)]
Whole = Annotated[int, Field(strict=True)]
BatchNumber = Annotated[int, Field(ge=1, le=MAX_BATCH)]
