"""The demo registry is valid by the importer's rules and has everything that the demo promises."""

from __future__ import annotations

import re
from collections import Counter
from datetime import date
from importlib.resources import files
from typing import Any

import msgspec
import pytest

from zpcode.rules.cards import product_card
from zpcode.rules.regions import REGIONS, city_of
from zpcode.rules.registry import consistency
from zpcode.rules.registry.layout import CLAIM_KINDS, COMMITMENT_KINDS, OLD_STOCK, PATHS
from zpcode.rules.registry.records import Registry
from zpcode.services.registry.importing import read_file

TODAY = date(2026, 11, 21)
DATA = files("zpcode.demo").joinpath("registry.json").read_bytes()


@pytest.fixture(scope="module")
def demo() -> Registry:
    """The demo registry as records."""
    return read_file(DATA, TODAY)[0].registry


def test_the_importer_finds_nothing_wrong_with_it() -> None:
    draft, findings = read_file(DATA, TODAY)
    consistency.check(consistency.Checker(draft, Registry(), draft.registry, findings), TODAY)
    assert findings.all() == ()


def test_at_least_twelve_enterprises_sit_in_all_eleven_cities(demo: Registry) -> None:
    assert len(demo.enterprises) >= 12
    assert {city_of(one.region) for one in demo.enterprises.values()} == set(map(city_of, REGIONS))


def test_at_least_twenty_products_come_from_the_industries_of_the_seeds(demo: Registry) -> None:
    assert len(demo.products) >= 20
    categories = {one.category.zh for one in demo.products.values()}
    assert categories >= {
        "塑料机械零件", "纺织机械", "汽车零部件", "塑料机械", "水产制品", "青瓷", "丝绸", "茶叶", "黄酒", "厨具", "儿童用品", "雨伞", "文具",
    }  # fmt: skip


def test_every_gtin_is_of_the_demonstration_range(demo: Registry) -> None:
    assert all(gtin.startswith("0950") for gtin in demo.products)


def test_every_product_has_four_to_eight_indicators_and_all_five_commitments(demo: Registry) -> None:
    for gtin in demo.products:
        assert 4 <= len(demo.indicators[gtin]) <= 8
        assert {one.kind for one in demo.commitments[gtin]} == {choice.code for choice in COMMITMENT_KINDS}
        assert any(one.national_value.zh for one in demo.indicators[gtin])
        assert any(one.benchmark_value.zh for one in demo.indicators[gtin])


def test_all_paths_old_stock_policies_claims_and_kinds_of_certificates_occur(demo: Registry) -> None:
    recognitions = demo.recognitions.values()
    assert {one.path for one in recognitions} == {choice.code for choice in PATHS}
    ended = [one for one in recognitions if one.valid_to < TODAY]
    assert Counter(one.old_stock for one in ended) == {choice.code: 1 for choice in OLD_STOCK}
    claims = {one.kind for listed in demo.claims.values() for one in listed}
    assert claims == {choice.code for choice in CLAIM_KINDS}
    assert {one.kind for one in demo.certificates.values()} >= {"zhejiang_made", "green", "ccc", "international"}


def _texts(value: Any) -> list[dict[str, str]]:
    if isinstance(value, dict) and value and set(value) <= {"zh", "en"}:
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for part in parts for text in _texts(part)]


def test_every_text_of_every_card_is_there_in_both_languages(demo: Registry) -> None:
    for product in demo.products.values():
        own = [one for one in demo.recognitions.values() if one.gtin == product.gtin]
        shown = msgspec.to_builtins(product_card(demo, product, own, TODAY))
        for text in _texts(shown):
            assert text.get("zh"), (product.gtin, text)
            assert text.get("en"), (product.gtin, text)
            assert not re.search("[\u3400-\u9fff]", text["en"]), text


def test_units_and_links_need_no_translation_and_lead_nowhere_real(demo: Registry) -> None:
    for listed in demo.indicators.values():
        assert not any(re.search("[\u3400-\u9fff]", one.unit) for one in listed)
    for enterprise in demo.enterprises.values():
        assert enterprise.website.endswith(".example")
        assert enterprise.email.endswith(".example")
        assert "-0000 " in enterprise.phone
        assert len(enterprise.story.zh) >= 50
        assert len(enterprise.story.en) >= 120


def test_no_two_enterprises_tell_the_same_story(demo: Registry) -> None:
    stories = Counter(one.story.zh for one in demo.enterprises.values())
    assert max(stories.values()) == 1
