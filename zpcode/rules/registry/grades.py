"""Grades of indicators in words: whether the grade of a product is at least that of its standard.

Text indicators are compared only if both values are grades. Equal grades satisfy the standard. Two grades of the same
ladder in Chinese product standards (优等品 > 一等品 > 合格品; 特级 > 一级 > 二级 …) are compared by their order. Other
grades cannot be compared: in some standards 1 is the best grade, in others the worst. Such an indicator is refused, with
the advice to use figures and a direction. `zpcode.wire.quantity` compares figures.
"""

from __future__ import annotations

import re
from typing import Final

from zpcode.language.normalization import normalized_if_safe

_LADDERS: Final = (("优等品", "一等品", "合格品"), ("特级", "一级", "二级", "三级", "四级", "五级"))
_GRADE = re.compile(
    r"(?:[A-Z]{1,3}|[0-9](?:-[0-9])?|[一二三四五六七八九十特优])\+{0,3}级|(?:GRADE|CLASS)(?:[A-E]|[0-9]{1,2}|I{1,3})|[优一二三]等品|合格品"
)


def is_grade(text: str) -> bool:
    """Whether a text is a grade and nothing else: 一级, A级, 4-5级, 优等品, Class 1."""
    return _GRADE.fullmatch(_grade(text)) is not None


def _grade(text: str) -> str:
    return re.sub(r"\s", "", normalized_if_safe("NFKC", text)).upper()


def grade_meets(product: str, standard: str) -> bool | None:
    """Whether a product's grade is at least a standard's; None if the two cannot be compared."""
    left, right = _grade(product), _grade(standard)
    if left == right:
        return True
    for ladder in _LADDERS:
        if left in ladder and right in ladder:
            return ladder.index(left) < ladder.index(right)
    return None
