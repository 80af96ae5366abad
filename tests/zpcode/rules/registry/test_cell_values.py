"""Identifiers and cells: accepted forms, and refusals with their reasons."""

from __future__ import annotations

from datetime import date, datetime, time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.registry_data import gtin, uscc
from zpcode.errors import Refused
from zpcode.rules import regions
from zpcode.rules.registry import identifiers, industries
from zpcode.rules.registry.cell_values import clean, read
from zpcode.rules.registry.layout import (
    CERTIFICATES,
    CLAIMS,
    ENTERPRISES,
    INDICATORS,
    PRODUCTS,
    SHEETS,
    STANDARDS,
    Field,
    Sheet,
)

TODAY = date(2026, 11, 21)


def field(sheet: Sheet, name: str) -> Field:
    """A field of a sheet by its name."""
    return next(one for one in sheet.fields if one.name == name)


def reason(sheet: Sheet, name: str, raw: object) -> str:
    """Why a cell is refused."""
    with pytest.raises(Refused) as refused:
        read(field(sheet, name), raw, TODAY)
    assert refused.value.findings[0].text.zh
    assert refused.value.findings[0].text.en
    return refused.value.reasons[0]


def test_the_province_has_eleven_cities_and_ninety_counties() -> None:
    cities = {code for code in regions.REGIONS if code.endswith("00")}
    assert len(cities) == 11
    assert len(regions.REGIONS) - len(cities) == 90
    assert {regions.city_of(code) for code in regions.REGIONS} == cities
    assert regions.region_name("330114").zh == "浙江省杭州市钱塘区"
    assert regions.region_name("331127").en == "Jingning She Autonomous County, Lishui, Zhejiang"
    assert regions.region_name("330700").en == "Jinhua, Zhejiang"


def test_every_region_given_up_points_at_one_that_is() -> None:
    assert not set(regions.FORMER) & set(regions.REGIONS)
    assert set(regions.FORMER.values()) <= set(regions.REGIONS)


def test_a_region_given_up_is_refused_with_its_successor() -> None:
    with pytest.raises(Refused, match="330102"):
        identifiers.region("330104")


def test_there_are_97_divisions_in_20_sections() -> None:
    assert sorted(industries.DIVISIONS) == [f"{number:02d}" for number in range(1, 98)]
    assert len({industries.section_of(code) for code in industries.DIVISIONS}) == 20
    assert industries.section_of("43") == "C"
    assert industries.section_of("44") == "D"


@pytest.mark.parametrize(("text", "code"), [("C3523", "C3523"), ("c35", "C35"), ("3523", "C3523"), ("A0412", "A0412")])
def test_an_industry_is_a_letter_and_digits(text: str, code: str) -> None:
    assert identifiers.industry(text) == code


@pytest.mark.parametrize("text", ["D3523", "C98", "C3", "C35231", "35-23", "", "C00"])
def test_what_is_no_industry_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        identifiers.industry(text)


def test_a_uscc_with_any_one_character_changed_is_refused() -> None:
    right = uscc()
    assert identifiers.uscc(right.lower()) == right
    for position in range(18):
        for other in "0123456789ABCDEFGHJKLMNPQRTUWXYIOSVZ":
            if other != right[position]:
                with pytest.raises(Refused):
                    identifiers.uscc(right[:position] + other + right[position + 1 :])


@pytest.mark.parametrize(
    "text", ["ZZB T0664-2018", "zzb t0664-2018", "ZZB  T0664-2018", "ZZBT0664—2018", "ZZB T 0664-2018"]
)
def test_a_registration_number_has_one_form(text: str) -> None:
    assert read(field(STANDARDS, "registration"), text, TODAY) == "ZZB T0664-2018"


@pytest.mark.parametrize(
    "text", ["ZZB X0664-2018", "ZZB T664-2018", "ZZB 0664-2018", "T/ZZB 0664-2018", "ZZB T0664-18"]
)
def test_other_registration_numbers_are_refused(text: str) -> None:
    assert reason(STANDARDS, "registration", text) == "registration"


@pytest.mark.parametrize("year", [2013, 2027, 1999])
def test_the_year_of_a_registration_number_has_to_be_plausible(year: int) -> None:
    assert reason(STANDARDS, "registration", f"ZZB T0664-{year}") == "registration_year"


@pytest.mark.parametrize(
    ("raw", "full"),
    [
        (6901234567892, "06901234567892"),
        (6901234567892.0, "06901234567892"),
        (" 690 1234-567892 ", "06901234567892"),
        ("\uff16\uff19\uff10\uff11\uff12\uff13\uff14\uff15\uff16\uff17\uff18\uff19\uff12", "06901234567892"),
        ("\u00a06901234567892\u3000", "06901234567892"),
        ("6.901234567892E+12", "06901234567892"),
        (12345678905, "00012345678905"),  # a UPC whose zero a numeric cell dropped
        ("012345678905", "00012345678905"),
        (96385074, "00000096385074"),
        (gtin().lstrip("0"), gtin()),
    ],
)
def test_a_gtin_is_read_as_a_person_would(raw: object, full: str) -> None:
    assert read(field(PRODUCTS, "gtin"), raw, TODAY) == full


@pytest.mark.parametrize(
    "raw", ["6901234567893", 690123456789, "69012345678A2", "690", "0" * 14, "123456789012345", True]
)
def test_what_is_no_gtin_is_refused(raw: object) -> None:
    assert reason(PRODUCTS, "gtin", raw) == "gtin"


@pytest.mark.parametrize("raw", ["6.9E+12", "6.90123E+12", 9.13301e17, 913301000000000000])
def test_digits_lost_to_scientific_notation_are_not_made_up(raw: object) -> None:
    assert reason(PRODUCTS, "gtin", raw) == "digits_lost"
    assert reason(ENTERPRISES, "uscc", raw) == "digits_lost"


@pytest.mark.parametrize(
    "raw",
    [
        "2026-01-05", "2026/1/5", "2026.1.5", "2026年1月5日", "2026 年 1 月 5 日", "20260105", 20260105, 46027, 46027.0,
        "\uff12\uff10\uff12\uff16-01-05", "2026-01-05 00:00:00", datetime(2026, 1, 5, 9, 30), date(2026, 1, 5),  # noqa: DTZ001 - as a spreadsheet gives it
    ],
)  # fmt: skip
def test_dates_are_read_in_every_usual_form(raw: object) -> None:
    assert read(field(CERTIFICATES, "valid_from"), raw, TODAY) == date(2026, 1, 5)


@pytest.mark.parametrize(
    "raw", ["2026-02-30", "26-1-5", "05/01/2026", "长期", "2026", 2026, "1066-10-14", "9999-12-31", True]
)
def test_what_is_no_date_is_refused(raw: object) -> None:
    assert reason(CERTIFICATES, "valid_from", raw) == "date"


@pytest.mark.parametrize(("raw", "value"), [("是", True), ("Y", True), ("✓", True), (1, True), (True, True), ("否", False), ("n", False), ("×", False), (0, False), (False, False)])  # fmt: skip
def test_yes_and_no_in_many_words(raw: object, value: bool) -> None:
    assert read(field(CERTIFICATES, "accepted"), raw, TODAY) is value


def test_neither_yes_nor_no_is_refused() -> None:
    assert reason(CERTIFICATES, "accepted", "maybe") == "yes_no"


@pytest.mark.parametrize("raw", ["ccc", "CCC", "强制性产品认证", " 强制性 产品认证 "])
def test_a_choice_is_known_by_code_and_by_either_language(raw: str) -> None:
    assert read(field(CERTIFICATES, "kind"), raw, TODAY) == "ccc"


def test_the_finding_of_a_wrong_choice_names_the_right_ones() -> None:
    with pytest.raises(Refused, match="浙江制造"):
        read(field(CERTIFICATES, "kind"), "ISO", TODAY)


@pytest.mark.parametrize(("raw", "value"), [("100,000", 100000), (5e4, 50000), ("0", 0), (10**12, 10**12)])
def test_a_quota_is_a_whole_number(raw: object, value: int) -> None:
    assert read(field(ENTERPRISES, "code_quota"), raw, TODAY) == value


@pytest.mark.parametrize("raw", [-1, 1.5, "many", 10**12 + 1, "NaN", "Infinity"])
def test_other_quotas_are_refused(raw: object) -> None:
    assert reason(ENTERPRISES, "code_quota", raw) == "count"


@pytest.mark.parametrize(
    "raw",
    ["ftp://a.example", "javascript:alert(1)", "www.a.example", "https://", "https://a b", "https://u:p@a.example", "https://a.example/<x>", "http://[::1", "https://a.example:99999", "data:text/html,x"],
)  # fmt: skip
def test_only_web_addresses_are_links(raw: str) -> None:
    assert reason(CLAIMS, "evidence_url", raw) == "url"


def test_web_addresses_telephone_numbers_and_mail_are_kept() -> None:
    assert identifiers.url("https://a.example:8443/x?y=1#z") == "https://a.example:8443/x?y=1#z"
    assert read(field(ENTERPRISES, "phone"), 4008001200.0, TODAY) == "4008001200"
    assert identifiers.phone("+86 571-8800 1200") == "+86 571-8800 1200"
    assert identifiers.phone("12315") == "12315"
    assert identifiers.email("A.b@Example.com") == "a.b@example.com"


@pytest.mark.parametrize(
    ("name", "raw"), [("phone", "call me"), ("phone", "1"), ("email", "a@b"), ("email", "a b@c.de")]
)
def test_what_is_no_telephone_or_mail_is_refused(name: str, raw: str) -> None:
    assert reason(ENTERPRISES, name, raw) == name


def test_text_the_spreadsheet_turned_into_a_date_is_not_kept() -> None:
    assert reason(PRODUCTS, "model", datetime(2026, 3, 5)) == "became_a_date"  # noqa: DTZ001
    assert reason(PRODUCTS, "model", time(3, 5)) == "became_a_date"


def test_several_numbers_in_one_cell_are_separated() -> None:
    raw = "T/ZZB 1-2023\uff1bGB 2-2020\nGB 2-2020、Q/AB 3"
    assert read(field(PRODUCTS, "standards"), raw, TODAY) == ("T/ZZB 1-2023", "GB 2-2020", "Q/AB 3")


def test_prose_keeps_its_punctuation_and_loses_what_cannot_be_seen() -> None:
    assert clean("\uff21\uff11\uff0c“好”。\u200b\x00\ud800\u202e  x\u00a0y ") == "A1\uff0c“好”。 x y"
    assert clean("一\r\n\r\n 二 ", lines=True) == "一\n二"


def test_a_cell_of_more_than_ten_thousand_characters_is_refused() -> None:
    assert reason(ENTERPRISES, "story", "长" * 10_001) == "too_long"
    assert reason(ENTERPRISES, "name", "长" * 201) == "too_long"


def test_a_value_that_says_there_is_none_is_blank_where_none_is_needed() -> None:
    assert read(field(INDICATORS, "national_value"), "—", TODAY) == ""
    assert read(field(INDICATORS, "product_value"), "无", TODAY) == "无"


@given(st.sampled_from([one for sheet in SHEETS for one in sheet.fields]), st.one_of(
    st.text(max_size=40), st.floats(), st.integers(), st.booleans(), st.datetimes(), st.lists(st.text(max_size=5), max_size=3),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
))  # fmt: skip
def test_no_cell_raises_anything_but_a_refusal(one: Field, raw: object) -> None:
    try:
        value = read(one, raw, TODAY)
    except Refused as refused:
        assert refused.findings  # noqa: PT017 - either outcome is right, and both are looked at
    else:
        assert isinstance(value, (str, bool, int, tuple, date))
        if isinstance(value, str):
            assert len(value.encode()) >= len(value)  # storable: no lone surrogate
            assert "\x00" not in value
