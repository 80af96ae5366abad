"""Grades in words are compared only where a ladder orders them."""

from __future__ import annotations

import pytest

from zpcode.rules.registry.grades import grade_meets, is_grade


@pytest.mark.parametrize("text", ["一级", "A级", "4-5级", "优等品", "Class 1", "特级", "１级"])
def test_grades_are_distinguished_from_description(text: str) -> None:
    assert is_grade(text)


@pytest.mark.parametrize("text", ["工业纯钛", "无裂纹", "适用", "符合一级要求", "classic"])
def test_description_is_no_grade(text: str) -> None:
    assert not is_grade(text)


@pytest.mark.parametrize(
    ("product", "standard", "expected"),
    [("优等品", "一等品", True), ("合格品", "一等品", False), ("特级", "一级", True), ("二级", "一级", False), ("4级", "4级", True), ("4级", "3级", None), ("A级", "B级", None)],
)  # fmt: skip
def test_only_grades_of_a_known_ladder_are_ranked(product: str, standard: str, expected: bool | None) -> None:
    assert grade_meets(product, standard) is expected
