"""The style sheet, which stands in every page, and where the script lies; the policy lets in these two and no others."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from typing import Final

STATIC: Final = Path(__file__).parent / "static"
STYLE: Final = re.sub(r"/\*.*?\*/|\n", "", (STATIC / "page.css").read_text("utf-8"), flags=re.DOTALL)


def _address(name: str) -> str:
    """Where a script lies, with what makes the address another one when the script is."""
    return f"/static/{name}?v={hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:8]}"


SCRIPT: Final = _address("page.js")
VERIFIER: Final = _address("verify.js")
VERSIONED: Final = frozenset({SCRIPT, VERIFIER})
_HASH: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_HASH}'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Content-Security-Policy (level 3) of every response that is a page."""
