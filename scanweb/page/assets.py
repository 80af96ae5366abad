"""The style sheet, which is part of every page, and the addresses of the scripts."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Final

STATIC: Final = Path(__file__).parent / "static"
STYLE: Final = re.sub(r"/\*.*?\*/|\n", "", (STATIC / "page.css").read_text("utf-8"), flags=re.DOTALL)


def _address(name: str) -> str:
    """The address of a script, with a hash of its content: a changed script has another address."""
    return f"/static/{name}?v={hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:8]}"


SCRIPT: Final = _address("page.js")
VERIFIER: Final = _address("verify.js")
VERSIONED: Final = frozenset({SCRIPT, VERIFIER})
