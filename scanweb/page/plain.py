"""Registry texts made fit to stand in a page: no marks that reorder what is around them, no control characters.

Escaping is the templates' own affair (autoescape); this is what escaping leaves.
"""

from __future__ import annotations

from typing import Final

_CONTROLS = (*(number for number in range(32) if chr(number) not in "\t\n\r"), 0x7F)
# Unicode UAX 9: no registry text has a use for these, and one of them can turn a whole page around.
_BIDI = (0x200E, 0x200F, 0x061C, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_DROPPED: Final = dict.fromkeys((*_CONTROLS, *_BIDI))


def plain(text: str) -> str:
    """The text without reordering marks and control characters; slots of `scanweb.page.slots` are among the latter."""
    return text if text.isascii() and text.isprintable() else text.translate(_DROPPED)
