"""Indicator values are read as people write them, and compared without rounding."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zpcode.wire.quantity import FigureRange, fits_direction, is_nothing, meets, span, spelling


def between(low: str | None, high: str | None, *, low_open: bool = False, high_open: bool = False) -> FigureRange:
    """A span from texts."""
    return FigureRange(
        None if low is None else Decimal(low), None if high is None else Decimal(high), low_open, high_open
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("≥ 30", between("30", None)),
        (">=30", between("30", None)),
        ("不小于 30", between("30", None)),
        ("> 30", between("30", None, low_open=True)),
        ("≤0.5", between(None, "0.5")),
        ("＜ 5", between(None, "5", high_open=True)),
        ("30~50", between("30", "50")),
        ("30～50", between("30", "50")),
        ("30-50", between("30", "50")),
        ("30 — 50", between("30", "50")),
        ("-5~-1", between("-5", "-1")),
        ("−0.02~0", between("-0.02", "0")),
        ("±0.02", between("-0.02", "0.02")),
        ("20±2", between("18", "22")),
        ("0.02", between("0.02", "0.02")),
        ("-40", between("-40", "-40")),
        ("1,200", between("1200", "1200")),
        ("３０", between("30", "30")),
        ("1e-07", between("0.0000001", "0.0000001")),
        ("≥ 30 MPa", between("30", None)),
    ],
)
def test_a_figure_is_read(text: str, expected: FigureRange) -> None:
    assert span(text, "MPa") == expected


@pytest.mark.parametrize(
    "text",
    ["", "合格", "≥ 30 kPa", "50~30", "10⁶", "1×10⁶", "≥", "3O", "1,2", "30~", "~", "≥≥30", "1.2.3", "nan", "9" * 60],
)
def test_what_is_no_figure_is_not_guessed(text: str) -> None:
    assert span(text, "MPa") is None


@pytest.mark.parametrize(
    ("direction", "product", "standard", "expected"),
    [
        ("ge", "62", "≥ 60", True),
        ("ge", "60", "≥ 60", True),
        ("ge", "60.0", "60", True),
        ("ge", "59.99", "60", False),
        ("ge", "60", "> 60", False),
        ("ge", "> 60", "> 60", True),
        ("ge", "58~64", "≥ 60", False),
        ("ge", "61~64", "≥ 60", True),
        ("le", "0.3", "0.3", True),
        ("le", "≤ 0.31", "≤ 0.3", False),
        ("le", "0.3", "< 0.3", False),
        ("le", "-45", "-40", True),
        ("range", "0.02", "±0.02", True),
        ("range", "±0.03", "±0.02", False),
        ("range", "1.8~2.6", "1.5~3.0", True),
        ("range", "1.4~2.6", "1.5~3.0", False),
        ("range", "2.0~3.1", "1.5~3.0", False),
    ],
)
def test_a_product_meets_its_standard_or_not(direction: str, product: str, standard: str, expected: bool) -> None:
    left, right = span(product), span(standard)
    assert left is not None
    assert right is not None
    assert meets(direction, left, right) is expected


@pytest.mark.parametrize(("direction", "text"), [("ge", "≤ 5"), ("le", "≥ 5"), ("range", "≥ 5"), ("range", "≤ 5")])
def test_a_bound_on_the_wrong_side_does_not_fit_its_direction(direction: str, text: str) -> None:
    parsed = span(text)
    assert parsed is not None
    assert not fits_direction(direction, parsed)


@given(st.decimals(-1000, 1000, places=3), st.decimals(-1000, 1000, places=3))
def test_points_compare_as_numbers_do(left: Decimal, right: Decimal) -> None:
    product, standard = span(str(left)), span(str(right))
    assert product is not None
    assert standard is not None
    assert meets("ge", product, standard) is (left >= right)
    assert meets("le", product, standard) is (left <= right)
    assert meets("range", product, standard) is (left == right)


@given(st.text(max_size=30), st.text(max_size=5))
def test_no_text_is_too_strange_to_read(text: str, unit: str) -> None:
    parsed = span(text, unit)
    assert parsed is None or parsed.low is not None or parsed.high is not None


@pytest.mark.parametrize(
    ("text", "expected"),
    [("不小于 30", "≥30"), ("３０ ～ ５０", "30~50"), ("20 +/- 2", "20±2"), ("1,200 MPa", "1,200"), ("10⁶", "")],
)
def test_a_value_has_one_spelling(text: str, expected: str) -> None:
    assert spelling(text, "MPa") == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("/", True), (" 无要求 ", True), ("N/A", True), ("0", False), ("合格", False)]
)
def test_ways_to_say_that_there_is_no_value(text: str, expected: bool) -> None:
    assert is_nothing(text) is expected
