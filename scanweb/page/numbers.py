"""Figures as a language writes them.

A language tells how by writing one number: its word `format.number` is 12345.6, so `12,345.6` groups by commas and
has a decimal point, `12 345,6` groups by spaces and has a decimal comma, `12345.6` does not group.
"""

from __future__ import annotations

import re
from decimal import Decimal
from functools import lru_cache
from typing import Final

_EXAMPLE = re.compile(r"12(\D?)345(\D)6")
_RAISED: Final = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
MOST_DIGITS: Final = 9
GROUPED_FROM: Final = 5  # 1200 needs no help to be read, 20,000 does


def written(figure: Decimal, example: str) -> str:
    """A figure with all the digits it was given (0.30 keeps its nought), or as 1.23×10⁹ where they are too many."""
    return _scientific(figure, example) if _digits(figure) > MOST_DIGITS else _in_full(figure, example)


def _digits(figure: Decimal) -> int:
    """How many digits the figure has in full, those behind the point included."""
    exponent = figure.as_tuple().exponent
    return max(figure.adjusted() + 1, 1) + max(-exponent, 0) if isinstance(exponent, int) else 0


def _in_full(figure: Decimal, example: str) -> str:
    group, point = _separators(example)
    whole, _, rest = f"{abs(figure):f}".partition(".")
    if len(whole) >= GROUPED_FROM:
        whole = f"{int(whole):,}".replace(",", group)
    return ("−" if figure < 0 else "") + whole + (point + rest if rest else "")


def _scientific(figure: Decimal, example: str) -> str:
    mantissa, _, exponent = f"{abs(figure):.2e}".partition("e")
    _, point = _separators(example)
    mantissa = mantissa.rstrip("0").rstrip(".").replace(".", point)
    return ("−" if figure < 0 else "") + mantissa + "×10" + str(int(exponent)).translate(_RAISED)


@lru_cache(maxsize=64)
def _separators(example: str) -> tuple[str, str]:
    """What stands between thousands, and before the decimals. Raises ValueError for an example that does not tell."""
    match = _EXAMPLE.fullmatch(example)
    if match is None:
        raise ValueError(f"format.number must be 12345.6 as the language writes it, not {example!r}")
    return match[1], match[2]
