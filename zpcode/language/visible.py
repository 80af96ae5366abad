"""Whether a text from outside shows something, and whether its marks stay in its line.

A name of blanks that are no white space (U+2800, Hangul fillers), of format characters or of marks alone looks empty: on a
label, in a list, in the audit log. A tall pile of combining marks covers the lines above and below it. This is the only
place that knows which characters these are; every reader of texts asks here.
"""

from __future__ import annotations

import unicodedata
from typing import Final

from zpcode.errors import Text, refusal

MAX_MARKS: Final = 8
"""Combining marks in a row. Tibetan and Biblical Hebrew need five; the limit of `normalization` only bounds time."""
_NOTHING: Final = frozenset({"Mn", "Mc", "Me", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs"})
"""Marks without a base, separators, control and format characters, surrogates. An unassigned character may be newer than
Python's table, and one for private use is a rare ideograph in some fonts: both show something."""
_MARKS: Final = frozenset({"Mn", "Me"})
_LOOKS_BLANK: Final = frozenset("\u115f\u1160\u2065\u2800\u3164\uffa0\ufffc\U0001d159")
"""Letters and symbols that show nothing: Hangul fillers, the empty Braille pattern, the null note head, an object's place."""
_IGNORABLE: Final = range(
    0xE0000, 0xE1000
)  # tags and variation selectors, assigned or not (Default_Ignorable_Code_Point)
_BLANK: Final = Text("没有可见的字符，请填写文字", "shows no character; write a text")
_PILED: Final = Text(
    f"有一个字符带有超过 {MAX_MARKS} 个组合符号（如重音符号），请删除这些符号",
    f"a character has more than {MAX_MARKS} combining marks (such as accents); remove them",
)


def is_blank(text: str) -> bool:
    """Whether a text shows nothing. The empty text is blank."""
    return not any(
        unicodedata.category(one) not in _NOTHING and one not in _LOOKS_BLANK and ord(one) not in _IGNORABLE
        for one in text
    )


def piles_marks(text: str) -> bool:
    """Whether more than `MAX_MARKS` combining marks follow one another."""
    if text.isascii():
        return False
    run = 0
    for one in text:
        run = run + 1 if unicodedata.category(one) in _MARKS else 0
        if run > MAX_MARKS:
            return True
    return False


def text_fault(text: str) -> tuple[str, Text] | None:
    """The reason and the words why a text is refused: `blank` or `marks`. White space alone is no fault: it is an empty text."""
    if text.strip() and is_blank(text):
        return "blank", _BLANK
    return ("marks", _PILED) if piles_marks(text) else None


def check_marks(text: str) -> str:
    """The same text. Raises Refused (`marks`) for one that piles marks."""
    if piles_marks(text):
        raise refusal("marks", _PILED.zh, _PILED.en)
    return text
