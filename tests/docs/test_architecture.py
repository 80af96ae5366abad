"""The picture of docs/architecture.md is what the import contracts say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_the_picture_is_drawn_from_the_contracts(root: Path) -> None:
    draw = "import runpy, sys; sys.stdout.write(runpy.run_path('docs/draw_architecture.py')['draw']())"
    drawn = subprocess.run([sys.executable, "-c", draw], cwd=root, check=True, capture_output=True).stdout
    assert drawn == (root / "docs" / "pictures" / "architecture.svg").read_bytes()
