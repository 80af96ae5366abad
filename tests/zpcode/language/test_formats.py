"""Dates and numbers as each language writes them."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from zpcode.language.formats import Formats


@pytest.mark.parametrize(
    ("figure", "language", "expected"),
    [
        ("0.80", "en", "0.80"), ("1200", "zh-CN", "1200"), ("20000", "zh-CN", "20,000"), ("-1234567.5", "en", "−1,234,567.5"),
        ("20000.5", "fr", "20\u202f000,5"), ("20000.5", "de", "20.000,5"), ("6E+1", "en", "60"),
        ("123456789012", "en", "1.23×10¹¹"), ("0.00000000150", "fr", "1,5×10⁻⁹"), ("-2E+30", "en", "−2×10³⁰"), ("0", "en", "0"),
    ],
)  # fmt: skip
def test_a_figure_reads_as_the_language_writes_it(figure: str, language: str, expected: str) -> None:
    assert Formats(language).number(Decimal(figure)) == expected


@pytest.mark.parametrize(
    ("language", "expected"), [("zh-CN", "2026年1月5日"), ("en", "5 January 2026"), ("de", "5. Januar 2026")]
)
def test_a_date_reads_as_the_language_writes_it(language: str, expected: str) -> None:
    assert Formats(language).date(date(2026, 1, 5)) == expected


def test_a_language_that_is_none_is_a_defect() -> None:
    with pytest.raises(ValueError, match="zq"):
        Formats("zq-")
