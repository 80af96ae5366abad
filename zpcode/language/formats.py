"""Dates and numbers in the notation of a language, from Unicode's CLDR (Babel). Formatted dates are cached.

English dates are British, `5 January 2026`: the form that readers of other languages mistake least.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Final

from babel import Locale
from babel.dates import format_date
from babel.numbers import get_decimal_symbol, get_group_symbol

_LOCALES: Final = {"en": "en-GB"}
_RAISED: Final = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
MAX_DIGITS: Final = 9
"""A number with more digits than this is written as 1.23×10⁹."""
GROUPED_FROM: Final = 5
"""Integer parts with at least this many digits are grouped: 1200, but 20,000."""


class Formats:
    """The formats of one language (a BCP 47 tag). Raises ValueError for a tag that CLDR does not have."""

    def __init__(self, language: str) -> None:
        self._locale = Locale.parse(_LOCALES.get(language, language), sep="-")
        self._group, self._point = get_group_symbol(self._locale), get_decimal_symbol(self._locale)
        self.date = lru_cache(maxsize=4096)(self._date)

    def _date(self, day: date) -> str:
        return format_date(day, "long", locale=self._locale)

    def number(self, figure: Decimal) -> str:
        """A number with all its digits (0.30 keeps its zero); with more than nine digits, as 1.23×10⁹."""
        return self._scientific(figure) if _digits(figure) > MAX_DIGITS else self._in_full(figure)

    def _in_full(self, figure: Decimal) -> str:
        whole, _, rest = f"{abs(figure):f}".partition(".")
        if len(whole) >= GROUPED_FROM:
            whole = f"{int(whole):,}".replace(",", self._group)
        return ("−" if figure < 0 else "") + whole + (self._point + rest if rest else "")

    def _scientific(self, figure: Decimal) -> str:
        mantissa, _, exponent = f"{abs(figure):.2e}".partition("e")
        mantissa = mantissa.rstrip("0").rstrip(".").replace(".", self._point)
        return ("−" if figure < 0 else "") + mantissa + "×10" + str(int(exponent)).translate(_RAISED)


def _digits(figure: Decimal) -> int:
    """The number of digits that a figure has when written in full, before and after the point."""
    exponent = figure.as_tuple().exponent
    return max(figure.adjusted() + 1, 1) + max(-exponent, 0) if isinstance(exponent, int) else 0
