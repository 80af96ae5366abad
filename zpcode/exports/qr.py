"""One code as a QR symbol (ISO/IEC 18004). It contains exactly the base address and the canonical path.

This is no file format (`zpcode.exports.formats`): the command line and the demo draw single symbols with it.

The text has two segments. Scheme and host are in byte mode and in lower case, because some phones take a URL in capitals
for plain text. The path is in alphanumeric mode, which takes 5.5 bits a character instead of 8. With a host of ten
characters and error correction level M, a sealed item code is version 7 and a compact one version 4.

The mask with the lowest penalty score is chosen, as the standard requires. A fixed mask would be five times as fast, but
the score keeps patterns that look like a finder pattern out of the symbol.
"""

from __future__ import annotations

import io
from typing import Any, Final

import segno
from segno import consts

from zpcode.wire.payload import Code

QUIET_ZONE: Final = 4  # modules, ISO/IEC 18004, section 6.3.8
LEVEL: Final = "m"  # a symbol is readable with some 15 % of it damaged


def symbol(base: str, code: Code) -> Any:
    """The QR symbol of a code behind a base address (`link.is_base`)."""
    segments = [(base, consts.MODE_BYTE), (code.path, consts.MODE_ALPHANUMERIC)]
    return segno.make(segments, error=LEVEL, boost_error=False, micro=False)  # type: ignore[arg-type]  # it accepts segments, though its stub does not say so


def svg(drawn: Any, module: float = 0.5) -> bytes:
    """The symbol as SVG with its quiet zone. A module is `module` millimetres wide."""
    out = io.BytesIO()
    drawn.save(out, kind="svg", scale=module, unit="mm", border=QUIET_ZONE, xmldecl=True, nl=True)
    return out.getvalue()


def png(drawn: Any, scale: int = 10) -> bytes:
    """The symbol as PNG with its quiet zone. A module is `scale` pixels wide."""
    out = io.BytesIO()
    drawn.save(out, kind="png", scale=scale, border=QUIET_ZONE)
    return out.getvalue()


def text(drawn: Any) -> str:
    """The symbol for a terminal: each line has two rows of modules, dark on light in any colour scheme."""
    rows = [list(row) for row in drawn.matrix_iter(border=QUIET_ZONE)]
    if len(rows) % 2:
        rows.append([0] * len(rows[0]))
    blocks = {(0, 0): "█", (0, 1): "▀", (1, 0): "▄", (1, 1): " "}
    lines = [
        "".join(blocks[int(bool(upper)), int(bool(lower))] for upper, lower in zip(top, bottom, strict=True))
        for top, bottom in zip(rows[::2], rows[1::2], strict=True)
    ]
    return "\n".join(f"\x1b[97;40m{line}\x1b[0m" for line in lines) + "\n"
