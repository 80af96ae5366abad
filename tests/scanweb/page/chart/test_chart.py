"""The chart of an indicator: every mark at its place, no text over another, no wrong claim."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import combinations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scanweb.page import texts
from scanweb.page.chart import chart
from scanweb.page.chart.labels import width
from zpcode.language.messages import Messages
from zpcode.wire.card import IndicatorInfo
from zpcode.wire.vocabulary import Bilingual

WORDS = texts.load()
CHINESE, ENGLISH = WORDS["zh-CN"], WORDS["en"]
MOST_BYTES = 1600


def indicator(
    product: str, standard: str = "", national: str = "", benchmark: str = "", *, direction: str = "ge", unit: str = ""
) -> IndicatorInfo:
    """A row of the comparison table, its values in Chinese only."""
    own, required, usual, best = map(Bilingual, (product, standard, national, benchmark))
    return IndicatorInfo(Bilingual("硬度"), direction, own, required, usual, best, unit)


@dataclass(slots=True)
class Words:
    """A text of the chart: its class, its position, its words (and those in another style)."""

    kind: str
    x: float
    y: float
    text: str = ""
    more: str = ""

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom, from the estimates that placed the text."""
        big = "c-big" in self.kind
        size = chart.BIG if big else chart.SMALL
        wide = width(self.text, size, bold=big or "c-said" in self.kind)
        wide += width(self.more, chart.SMALL, bold=not big)
        left = self.x - (0 if "c-left" in self.kind else wide if "c-right" in self.kind else wide / 2)
        return left, self.y - 0.75 * size, left + wide, self.y + 0.2 * size


@dataclass(slots=True)
class Drawn:
    """The content of a chart: its height, its texts, its other elements by class."""

    height: float = 0
    words: list[Words] = field(default_factory=list)
    shapes: dict[str, list[dict[str, str]]] = field(default_factory=dict)

    @property
    def texts(self) -> list[str]:
        """All texts."""
        return [one.text + one.more for one in self.words]


class Reader(HTMLParser):
    """Parses a chart as a browser does."""

    def __init__(self, picture: str) -> None:
        super().__init__()
        self.drawn = Drawn()
        self._inside = ""
        self.feed(picture)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element; checks that it is allowed and has no style attribute."""
        at = {name: value or "" for name, value in attrs}
        assert "style" not in at
        assert tag in {"svg", "text", "tspan", "rect", "path"}
        self._inside = tag
        if tag == "svg":
            assert (at["aria-hidden"], at["focusable"]) == ("true", "false")
            self.drawn.height = float(at["viewbox"].split()[3])
        elif tag == "text":
            self.drawn.words.append(Words(at.get("class", ""), float(at["x"]), float(at["y"])))
        elif tag != "tspan":
            self.drawn.shapes.setdefault(at["class"], []).append(at)

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002 - the parser's own signature
        """End the text of an element."""
        self._inside = ""

    def handle_data(self, data: str) -> None:
        """Note a text; checks that it is inside a text element."""
        assert self._inside in {"text", "tspan"}
        if self._inside == "text":
            self.drawn.words[-1].text += data
        else:
            self.drawn.words[-1].more += data


def drawn(one: IndicatorInfo, t: Messages = CHINESE) -> Drawn:
    """The chart of an indicator, parsed."""
    return Reader(str(chart.chart(one, t))).drawn


def across(shape: dict[str, str]) -> float:
    """The x position of a mark."""
    match = re.match(r"M(-?[0-9.]+)", shape.get("d", f"M{shape.get('x')}"))
    assert match is not None
    return float(match[1])


FIGURES = st.one_of(
    st.sampled_from(["0", "58", "58.0", "-45", "0.002", "2000", "99999", "1e9"]),
    st.decimals(-1000, 1000, places=2).map(str),
    st.decimals("1e-20", "1e20", allow_nan=False).map(lambda one: f"{one:.3e}"),
)
BOUNDS = st.tuples(st.sampled_from(["≥ ", "≤ ", "> ", "±", ""]), FIGURES).map("".join)
RANGES = st.tuples(FIGURES, FIGURES).map(lambda two: "~".join(sorted(two, key=float)))
VALUES = st.one_of(FIGURES, BOUNDS, RANGES, st.sampled_from(["", "/", "合格"]))
UNITS = st.sampled_from(["", "%", "HRC", "10⁻⁷ cm³/(N·m)", "毫克每千克", "W" * 60])


@given(VALUES, VALUES, VALUES, VALUES, st.sampled_from(["ge", "le", "range"]), UNITS, st.sampled_from(list(WORDS)))
@example("58", "58", "58", "58", "ge", "HRC", "en")
@example("1000", "1", "0.5", "2000", "ge", "h", "en")
@example("0.02", "0.021", "0.022", "0.023", "le", "%", "zh-CN")
@example("-0.02~0", "-0.03~0", "-0.05~0", "-0.031~0.001", "range", "mm", "en")
@example("1" * 24, "1" * 23 + "2", "-" + "1" * 24, "0", "ge", "W" * 60, "en")
def test_no_words_stand_over_others_or_outside(
    product: str, standard: str, national: str, benchmark: str, direction: str, unit: str, language: str
) -> None:
    one = indicator(product, standard, national, benchmark, direction=direction, unit=unit)
    picture = chart.chart(one, WORDS[language])
    result = Reader(str(picture)).drawn
    assert len(picture.encode()) <= MOST_BYTES
    boxes = [one.box for one in result.words]
    for left, top, right, bottom in boxes:
        assert -0.1 <= left <= right <= chart.WIDE + 0.1
        assert 0 <= top < bottom <= result.height
    for one_box, other in combinations(boxes, 2):
        apart = one_box[2] <= other[0] + 0.1 or other[2] <= one_box[0] + 0.1
        assert apart or one_box[3] <= other[1] or other[3] <= one_box[1], result.texts


@pytest.mark.parametrize("direction", ["ge", "le"])
def test_what_the_standard_asks_for_is_shaded_towards_the_better(direction: str) -> None:
    result = drawn(indicator("60", "58", "55", direction=direction))
    [need], [track], [bar] = (result.shapes[name] for name in ("c-need", "c-track", "c-standard"))
    begins, ends = float(need["x"]), float(need["x"]) + float(need["width"])
    edge = across(bar) + 2  # a bar is 4 wide
    if direction == "ge":
        assert (begins, ends) == pytest.approx((edge, float(track["x"]) + float(track["width"])), abs=0.2)
    else:
        assert (begins, ends) == pytest.approx((float(track["x"]), edge), abs=0.2)


def test_marks_stand_in_the_order_of_their_figures() -> None:
    result = drawn(indicator("≥ 60", "≥ 58", "≥ 55", "≥ 57"))
    places = [across(result.shapes[name][0]) for name in ("c-national", "c-benchmark", "c-standard", "c-own")]
    assert places == sorted(places)


def test_a_range_is_a_stretch_and_its_requirement_a_band() -> None:
    result = drawn(indicator("1.8~2.6", "1.5~3.0", direction="range", unit="N·m"))
    [own], [need] = result.shapes["c-own"], result.shapes["c-need"]
    assert float(need["x"]) < float(own["x"])
    assert float(own["x"]) + float(own["width"]) < float(need["x"]) + float(need["width"])
    assert "本产品 1.8～2.6 N·m" in result.texts


def test_equal_values_share_a_label_and_every_mark_is_there() -> None:
    result = drawn(indicator("60", "58", "58", "58"))
    assert "浙江制造 · 国家/行业 · 国际先进 58" in result.texts
    assert {"c-own", "c-standard", "c-national", "c-benchmark"} <= set(result.shapes)


def test_a_missing_value_has_no_mark_and_no_label() -> None:
    result = drawn(indicator("60", "58", "/", ""))
    assert {"c-national", "c-benchmark"}.isdisjoint(result.shapes)
    assert not any(CHINESE("chart.national") in one or CHINESE("chart.benchmark") in one for one in result.texts)


@pytest.mark.parametrize(("direction", "key"), [("ge", "chart.ge"), ("le", "chart.le"), ("range", "chart.band")])
@pytest.mark.parametrize("language", WORDS)
def test_the_better_direction_is_named(direction: str, key: str, language: str) -> None:
    assert WORDS[language](key) in drawn(indicator("58", "58", direction=direction), WORDS[language]).texts


def test_the_picture_says_when_its_axis_is_logarithmic() -> None:
    result = drawn(indicator("0.02", "0.10", "2.0", direction="le"))
    assert any(CHINESE("chart.log") in one for one in result.texts)
    assert not any(CHINESE("chart.log") in one for one in drawn(indicator("0.2", "0.3", "0.5", direction="le")).texts)


def test_values_read_as_the_language_writes_them() -> None:
    one = indicator("20000~30000", "不小于 1.50", unit="CFU/g")
    assert "This product 20,000 to 30,000" in drawn(one, ENGLISH).texts  # no room for the unit: none rather than half
    assert any(one.endswith(" ≥1.50") for one in drawn(one, ENGLISH).texts)
    assert "本产品 20,000～30,000 CFU/g" in drawn(one, CHINESE).texts


def test_no_figure_is_cut_short() -> None:
    one = indicator("-123456.789~-123455.789", "-123456.789~-23455.789", direction="range", unit="W" * 60)
    result = drawn(one, ENGLISH)
    assert any(one.startswith("−123,456.789 to −123,455.789") for one in result.texts)
    assert any(one.endswith("−123,456.789 to −23,455.789") for one in result.texts)


def test_a_value_in_english_only_is_read_too() -> None:
    one = IndicatorInfo(Bilingual("", "hardness"), "ge", Bilingual("", "60"), Bilingual("", "58"))
    assert "This product 60" in drawn(one, ENGLISH).texts


def test_words_are_shown_with_whose_they_are_and_without_an_order() -> None:
    result = drawn(indicator("适用", "适用", "", "有条件适用", direction="text"))
    assert result.texts == ["适用", "有条件适用"]
    assert "c-track" not in result.shapes
    assert {name: len(shapes) for name, shapes in result.shapes.items()} == {
        "c-own": 1,
        "c-standard": 1,
        "c-benchmark": 1,
    }


def test_a_value_that_is_no_figure_makes_it_an_indicator_in_words() -> None:
    result = drawn(indicator("≥ 60", "≥ 58", "不作要求，由供需双方商定"))
    assert result.texts == ["≥ 60", "≥ 58", "不作要求，由供需双方商定"]


@pytest.mark.parametrize("values", [("≤ 5", "5"), ("", "5"), ("5 级以上", "5")])
def test_what_does_not_fit_the_direction_is_not_drawn_on_an_axis(values: tuple[str, str]) -> None:
    assert "c-track" not in drawn(indicator(*values)).shapes


def test_nothing_is_drawn_of_nothing() -> None:
    assert chart.chart(indicator(""), CHINESE) == ""
    assert chart.chart(indicator("/", direction="text"), CHINESE) == ""


HOSTILE = ["<script>alert(1)</script>", "\"'><img src=x>", "\u202e硬\u2066度\u200f", "字" * 10_000, "&amp;", "\x00\n\t"]


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("direction", ["ge", "text", "unknown"])
def test_what_the_registry_holds_cannot_break_the_picture(text: str, direction: str) -> None:
    for one in (indicator(text, text, "7", direction=direction, unit=text), indicator("60", "58", unit=text)):
        picture = str(chart.chart(one, CHINESE))
        assert all(name in {"c-own", "c-standard", "c-national", "c-benchmark", "c-track", "c-need", "c-line"}
                   for name in Reader(picture).drawn.shapes)  # fmt: skip
        assert not set(picture) & set("\x00\u202e\u2066\u200f")
        assert len(picture.encode()) <= MOST_BYTES


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=10), st.sampled_from(["ge", "le", "range", "text"]))
def test_no_text_is_too_strange_to_draw(product: str, standard: str, unit: str, direction: str) -> None:
    result = drawn(indicator(product, standard, direction=direction, unit=unit), ENGLISH)
    for one in result.words:
        assert one.box[0] >= -0.1
        assert one.box[2] <= chart.WIDE + 0.1


@pytest.mark.parametrize("language", WORDS)
def test_the_legend_names_every_shape(language: str) -> None:
    t = WORDS[language]
    legend = str(chart.legend(t))
    for key in ("product", "standard", "national", "benchmark"):
        assert t(f"indicators.{key}") in legend
    for name in ("c-own", "c-standard", "c-national", "c-benchmark", "c-track", "c-need"):
        assert f'class="{name}"' in legend
    assert t("chart.need") in legend
