"""Normalise text from outside (Unicode normalisation forms) in time that grows with its length.

Normalisation sorts each run of non-starters (combining marks), and CPython sorts by insertion: 40 000 marks in descending
class take seconds, in which no other thread runs. So text is normalised only if it is stream-safe: no run is longer than
30 (Stream-Safe Text Format; UAX #15, D4). No language needs more. This is the only place that normalises.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Final, Literal

from zpcode.errors import refusal

MAX_NON_STARTERS: Final = 30
"""Consecutive non-starters of a stream-safe text (UAX #15, D3)."""

NormalForm = Literal["NFC", "NFKC"]


def is_stream_safe(text: str) -> bool:
    """Whether no run of non-starters is longer than 30. Runs are counted in NFKD, character by character: in linear time.

    The class of the character itself does not suffice: U+0F73 is a starter and becomes two non-starters.
    """
    if text.isascii():
        return True
    run = 0
    for one in text:
        trailing, whole = _non_starters(one)
        run = run + trailing if whole else trailing
        if run > MAX_NON_STARTERS:
            return False
    return True


@lru_cache(maxsize=4096)
def _non_starters(one: str) -> tuple[int, bool]:
    """The number of non-starters that a character ends with in NFKD, and whether it has nothing else."""
    marks = unicodedata.normalize("NFKD", one)
    trailing = 0
    while trailing < len(marks) and unicodedata.combining(marks[-1 - trailing]):
        trailing += 1
    return trailing, trailing == len(marks)


def normalized(form: NormalForm, text: str) -> str:
    """A text in a normal form. Raises Refused with one finding, `marks`, if it is not stream-safe."""
    if not is_stream_safe(text):
        raise refusal(
            "marks",
            f"有一个字符带有超过 {MAX_NON_STARTERS} 个组合符号（如重音符号），请删除这些符号",
            f"a character has more than {MAX_NON_STARTERS} combining marks (such as accents); remove them",
        )
    return unicodedata.normalize(form, text)


def normalized_if_safe(form: NormalForm, text: str) -> str:
    """A text in a normal form, to be compared; unchanged if it is not stream-safe: then it equals nothing that is known."""
    return unicodedata.normalize(form, text) if is_stream_safe(text) else text
