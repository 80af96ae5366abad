"""The pure parts of the load tests: curves, virtual people, the made-up registry, samples, targets."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest

from loadtests.load import curves, registry, sample, targets
from loadtests.load.catalogue import PROFILES
from loadtests.load.charts import Series, chart, round_up
from loadtests.load.sample import Sample
from loadtests.load.seeding import Plan
from loadtests.users import people
from loadtests.users.ledger import RECALLED, Ledger
from loadtests.users.verdicts import ScanKind
from scanweb.visits.visitors import channel_of
from zpcode.errors import Unavailable

PATH = f"/{'A' * 107}/01/09506100000007/21/0123456789AB"


@pytest.mark.parametrize("seconds", [10.0, 60.0, 600.0])
def test_every_curve_runs_from_beginning_to_end_within_its_rate(seconds: float) -> None:
    for profile in PROFILES.values():
        points = profile.points(seconds)
        assert points[0][0] == 0
        assert points[-1][0] == seconds
        assert [second for second, _ in points] == sorted(second for second, _ in points)
        assert max(share for _, share in points) == 1.0


def test_singles_day_is_twenty_times_as_busy_within_a_minute() -> None:
    points = curves.rush(600)
    assert curves.at(points, 120) * 20 == pytest.approx(curves.at(points, 180))


def test_what_is_planned_is_the_area_below_the_curve() -> None:
    points = [(0.0, 0.0), (10.0, 1.0), (20.0, 1.0)]
    assert curves.area(points) == 15.0
    assert curves.area(points, 5.0) == 1.25
    assert curves.at(points, 99.0) == 1.0


def test_consumers_come_from_everywhere_and_look_like_people() -> None:
    rng = Random(1)
    views = [people.headers(rng) for _ in range(500)]
    assert len({view["X-Forwarded-For"].rpartition(".")[0] for view in views}) > 490
    assert {channel_of(view["User-Agent"]) for view in views} == {"wechat", "alipay", "browser"}
    assert channel_of(people.PREVIEWER) == "preview"


def test_a_forgery_is_never_the_code_it_was_made_from() -> None:
    rng = Random(1)
    made = {people.forged(PATH, rng) for _ in range(400)}
    assert PATH not in made
    assert len({path.count("/") for path in made}) == 2  # with a seal and without
    assert people.unsealed(PATH) == "/01/09506100000007/21/0123456789AB"


def test_a_ledger_knows_the_code_before_its_batch() -> None:
    ledger = Ledger()
    ledger.announce(RECALLED, ScanKind.WITHDRAWN)
    assert ledger.of(PATH, RECALLED) is ScanKind.WITHDRAWN
    assert ledger.of(PATH) is ScanKind.GENUINE
    ledger.announce(RECALLED, ScanKind.GENUINE)
    assert ledger.of(PATH, RECALLED) is ScanKind.GENUINE


def test_the_made_up_registry_gives_every_product_a_number_of_its_own() -> None:
    files = [json.loads(data) for data in registry.files_for(450)]
    products = [product for file in files for product in file["products"]]
    assert len({product["gtin"] for product in products}) == 450
    assert len({product["recognitions"][0]["number"] for product in products}) == 450
    assert [len(file["products"]) for file in files] == [200, 200, 50]


def test_a_plan_gives_the_popular_hundredth_half_of_all_codes() -> None:
    plan = Plan(10_000, 1_000_000)
    popular = sum(plan.quantity(number) for number in plan.popular)
    every = sum(plan.quantity(number) for number in range(plan.products))
    assert popular == 500_000
    assert every == pytest.approx(1_000_000, rel=0.01)
    assert sum(plan.share(number) for number in range(plan.products)) == pytest.approx(200_000, rel=0.01)


@pytest.mark.parametrize(("products", "codes"), [(0, 10), (10, 19), (1_000_001, 10_000_000)])
def test_a_plan_that_cannot_be_carried_out_is_refused(products: int, codes: int) -> None:
    with pytest.raises(ValueError, match="a seeding has"):
        Plan(products, codes)


def codes(**more: list[str]) -> dict[str, list[str]]:
    every = {name: [PATH[:-2] + f"{at}{n}" for n in range(3)] for at, name in enumerate(sample.SECTIONS)}
    return every | {name: ["/x"] for name in sample.OTHERS} | more


def test_a_sample_gives_back_what_was_written(tmp_path: Path) -> None:
    sample.write(tmp_path, codes(), recall_batch=7, products=2, codes=12)
    read = Sample(tmp_path)
    assert [read.code("ordinary", at) for at in range(3)] == codes()["ordinary"]
    assert read.draw("recall", Random(1)) in codes()["recall"]
    assert read.contents.recall_batch == 7
    with pytest.raises(IndexError):
        read.code("ordinary", 3)


def test_a_sample_that_is_missing_or_cut_off_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="no usable sample"):
        Sample(tmp_path)
    sample.write(tmp_path, codes(), recall_batch=7, products=2, codes=12)
    (tmp_path / sample.CODES).write_text("short\n")
    with pytest.raises(Unavailable, match="incomplete"):
        Sample(tmp_path)
    with pytest.raises(ValueError, match="one length"):
        sample.write(tmp_path, codes(recall=["/short"]), recall_batch=7, products=2, codes=12)


def test_keys_of_a_sample_are_for_its_owner_alone(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        sample.Keys.read(tmp_path)
    kept = sample.Keys("r", (("l", "09506100000007"),))
    kept.write(tmp_path)
    assert sample.Keys.read(tmp_path) == kept
    assert (tmp_path / sample.KEYS).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("url", "near"),
    [
        ("http://127.0.0.1:8701", True),
        ("http://localhost:8701", True),
        ("http://[::1]:8701", True),
        ("https://scan.example", False),
        ("http://127.0.0.1.example", False),
        ("http://127.0.0.1@example.org", False),
        ("http://0.0.0.0:8701", False),
        ("http://localhost.example", False),
        ("", False),
    ],
)
def test_only_loopback_is_loaded_unasked(url: str, near: bool) -> None:
    assert targets.is_loopback(url) is near
    assert (targets.refusal([url], confirmed=False) is None) is near
    assert targets.refusal([url], confirmed=True) is None


def test_an_api_elsewhere_needs_confirming_too() -> None:
    text = targets.refusal(["http://127.0.0.1", "https://api.example"], confirmed=False)
    assert text is not None
    assert "https://api.example" in text.zh
    assert targets.CONFIRM in text.en


def test_charts_hold_all_their_points_and_no_foreign_text() -> None:
    drawn = chart([Series("<b>", "made", [(0, 1.0), (1, None), (2, 51.0)])], 2.0, "/s", marks=[1.0])
    assert "<b>" not in drawn
    assert drawn.count('class="mark"') == 1
    assert drawn.count("M") >= 2  # a gap begins a new line
    assert [round_up(value) for value in (0.3, 1.0, 51.0, 99.0)] == [0.4, 1.0, 60.0, 100.0]
