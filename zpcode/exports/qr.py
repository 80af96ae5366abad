"""A code as a QR symbol (ISO/IEC 18004): it says exactly the base address and the canonical path.

Two segments: scheme and host as bytes, in lower case because some phones take an address in capitals for
text; the whole path as alphanumeric, which costs 5.5 bits a character instead of 8. At level M and a host of
ten characters a sealed item code is version 7 and a compact one version 4.

The mask is chosen by the standard's penalty score. A fixed one is five times as quick, but the score is what
keeps look-alikes of the finder pattern out of a symbol, and a packaging line draws its own symbols from the
CSV anyway.
"""

from __future__ import annotations

import io
from typing import Any, Final

import segno
from segno import consts

from zpcode.wire.payload import Code

QUIET_ZONE: Final = 4  # modules, ISO/IEC 18004, section 6.3.8
LEVEL: Final = "m"  # some 15 % of the symbol may be lost


def symbol(base: str, code: Code) -> Any:
    """The QR symbol of a code behind a base address (`link.is_base`)."""
    segments = [(base, consts.MODE_BYTE), (code.path, consts.MODE_ALPHANUMERIC)]
    return segno.make(segments, error=LEVEL, boost_error=False, micro=False)  # type: ignore[arg-type]  # it takes segments, its stub does not say so


def svg(drawn: Any, module: float = 0.5) -> bytes:
    """The symbol as SVG, `module` millimetres a module, quiet zone included."""
    out = io.BytesIO()
    drawn.save(out, kind="svg", scale=module, unit="mm", border=QUIET_ZONE, xmldecl=True, nl=True)
    return out.getvalue()


def png(drawn: Any, scale: int = 10) -> bytes:
    """The symbol as PNG, `scale` pixels a module, quiet zone included."""
    out = io.BytesIO()
    drawn.save(out, kind="png", scale=scale, border=QUIET_ZONE)
    return out.getvalue()


def text(drawn: Any) -> str:
    """The symbol for a terminal: two rows of modules a line, dark on light whatever the terminal's colours."""
    rows = [list(row) for row in drawn.matrix_iter(border=QUIET_ZONE)]
    if len(rows) % 2:
        rows.append([0] * len(rows[0]))
    blocks = {(0, 0): "█", (0, 1): "▀", (1, 0): "▄", (1, 1): " "}
    lines = [
        "".join(blocks[int(bool(upper)), int(bool(lower))] for upper, lower in zip(top, bottom, strict=True))
        for top, bottom in zip(rows[::2], rows[1::2], strict=True)
    ]
    return "\n".join(f"\x1b[97;40m{line}\x1b[0m" for line in lines) + "\n"
