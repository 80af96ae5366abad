"""The parts of charts: axes with printable ends, numbers by language, labels without overlap."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanweb.page.chart.axis import axis
from scanweb.page.chart.labels import GAP, arrange, shortened, width
from scanweb.page.plain import plain


def ends(*figures: str, unit: str = "") -> tuple[str, str, bool]:
    """Both ends of the axis for these figures as they would be printed, and whether it is logarithmic."""
    scale = axis([Decimal(one) for one in figures], unit)
    return f"{scale.low:f}", f"{scale.high:f}", scale.logarithmic


@pytest.mark.parametrize(
    ("figures", "expected"),
    [
        (("60", "58", "55", "58"), ("54", "61", False)),
        (("0.010", "0.015", "0.030"), ("0.005", "0.035", False)),
        (("0.4", "0.8", "1.6"), ("0", "2", False)),  # nought is near: the axis begins there
        (("0", "0", "1.0"), ("0", "1.2", False)),  # never below nought where no figure is
        (("-45", "-40", "-30"), ("-50", "-25", False)),
        (("-0.02", "0", "-0.05"), ("-0.06", "0", False)),
        (("58", "58"), ("56", "60", False)),
        (("0", "0"), ("0", "0.2", False)),
        (("0.02", "2"), ("0.02", "2", True)),
        (("0.002", "1999"), ("0.002", "2000", True)),
        (("-1", "1000"), ("-200", "1200", False)),
        (("0", "1000"), ("0", "1200", False)),
    ],
)
def test_an_axis_ends_in_nice_figures(figures: tuple[str, ...], expected: tuple[str, str, bool]) -> None:
    assert ends(*figures) == expected


def test_a_share_does_not_go_beyond_all_of_it() -> None:
    assert ends("100", "50", unit="%")[1] == "100"
    assert ends("100", "50", unit="g")[1] == "110"
    assert ends("120", "50", unit="%")[1] != "100"


FIGURES = st.decimals(-(10**9), 10**9, places=6) | st.decimals("1e-120", "1e120", allow_nan=False)


@given(st.lists(FIGURES, min_size=1, max_size=8))
def test_every_figure_is_on_its_axis_in_order(figures: list[Decimal]) -> None:
    scale = axis(figures)
    assert scale.low < scale.high
    spared = max(map(abs, figures)) * Decimal("1e-5")
    assert scale.low <= min(figures) + spared
    assert max(figures) <= scale.high + spared
    places = [scale.at(one) for one in sorted(figures)]
    assert places == sorted(places)
    assert 0 <= places[0] <= places[-1] <= 1


def test_powers_of_ten_are_marked_on_a_logarithmic_axis_only() -> None:
    assert axis([Decimal("0.5"), Decimal(2000)]).powers() == [1, 10, 100, 1000]
    assert axis([Decimal(1), Decimal(100)]).powers() == [10]
    assert axis([Decimal(5), Decimal(20)]).powers() == []


@given(st.text(max_size=60), st.floats(20, 300))
def test_a_shortened_text_fits_and_begins_as_it_did(text: str, room: float) -> None:
    short = shortened(text, 13, room)
    assert width(short, 13) <= room
    assert short == text or (short.endswith("…") and text.startswith(short[:-1]))


def test_a_text_with_room_is_left_alone() -> None:
    assert shortened("合金层硬度", 13, 65) == "合金层硬度"
    assert shortened("合金层硬度", 13, 64) == "合金层…"


LABELS = st.lists(st.tuples(st.floats(0, 312), st.floats(10, 312)), min_size=1, max_size=4)


@given(LABELS)
def test_labels_of_one_row_keep_apart_and_inside(labels: list[tuple[float, float]]) -> None:
    places = arrange([at for at, _ in labels], [wide for _, wide in labels], 312)
    assert [place.width for place in places] == [wide for _, wide in labels]
    for place in places:
        assert place.left >= -0.01
        assert place.right <= 312.01
    for row in range(len(labels)):
        ordered = sorted((place for place in places if place.row == row), key=lambda place: place.left)
        for one, other in pairwise(ordered):
            assert one.right + GAP <= other.left + 0.01


def test_labels_stand_under_what_they_name_in_one_row_where_they_can() -> None:
    places = arrange([50, 250], [80, 80], 312)
    assert [(place.middle, place.row) for place in places] == [(50, 0), (250, 0)]
    assert {place.row for place in arrange([100, 102], [150, 150], 312)} == {0, 1}
    assert arrange([], [], 312) == []


def test_marks_that_reorder_are_dropped() -> None:
    assert plain("a\u202eb\u2066c\u200fd\x00e\u061c") == "abcde"
    assert plain("<b> 合金 😀") == "<b> 合金 😀"
