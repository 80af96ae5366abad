"""Removes from registry texts what could break a page: marks that reorder the text around them, and control characters.

The templates escape markup (autoescape); escaping does not remove these characters.
"""

from __future__ import annotations

from typing import Final

_CONTROLS = (*(number for number in range(32) if chr(number) not in "\t\n\r"), 0x7F)
# Unicode UAX 9: no registry text needs these marks, and one of them can reverse a whole page.
_BIDI = (0x200E, 0x200F, 0x061C, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_DROPPED: Final = dict.fromkeys((*_CONTROLS, *_BIDI))


def plain(text: str) -> str:
    """The text without reordering marks and control characters, which include the slots of `scanweb.page.slots`."""
    return text if text.isascii() and text.isprintable() else text.translate(_DROPPED)
