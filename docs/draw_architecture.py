"""Draws docs/pictures/architecture.svg from the import contracts in pyproject.toml: `python docs/draw_architecture.py`.

Each layer is a band. It may import the layers below it, never those above it; import-linter enforces this (`make check`).
The picture has the same bytes every time, and a test compares it with the file in the repository.
"""

from __future__ import annotations

import tomllib
from html import escape
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
TARGET: Final = ROOT / "docs" / "pictures" / "architecture.svg"
WIDTH: Final = 1200
BAND: Final = 50
GAP: Final = 6
TOP: Final = 92
COLUMNS: Final = {
    "zpcode": (24, 560, "zpcode · authority", "PostgreSQL, writes Redis; no private key"),
    "scanweb": (608, 330, "scanweb · scan service", "Redis, one read-only view; no private key"),
    "keys": (962, 214, "keys · signer", "private keys; no network"),
}
"""Package: left edge, width, title, what its processes have and never have."""
SIGNER: Final = ("__main__", "server", "signer · ceremony", "client · keyring", "document · es256", "files · settings")
COLOURS: Final = {"zpcode": "#0b5d4f", "scanweb": "#1f4e8c", "keys": "#7a4a12"}


def layers(package: str, root: Path = ROOT) -> list[list[str]]:
    """The layers of a package from top to bottom, each with its modules side by side."""
    contracts: list[dict[str, Any]] = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["tool"][
        "importlinter"
    ]["contracts"]
    for contract in contracts:
        if contract["type"] == "layers" and contract["containers"] == [package]:
            return [layer.split(" | ") for layer in contract["layers"]]
    raise LookupError(package)


def subjects(package: str, layer: str, root: Path = ROOT) -> list[str]:
    """The folders of a layer."""
    folder = root / package / layer
    return sorted(path.name for path in folder.glob("*/") if (path / "__init__.py").exists())


def draw() -> str:
    """The picture as SVG."""
    columns = {"zpcode": layers("zpcode"), "scanweb": layers("scanweb"), "keys": [[name] for name in SIGNER]}
    height = TOP + max(map(len, columns.values())) * (BAND + GAP) + 56
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
            'font-family="system-ui, sans-serif">'
        ),
        "<title>The layers of zpcode, scanweb and keys: each may import only the layers below it</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#fbfaf7"/>',
    ]
    for package, rows in columns.items():
        parts += _column(package, rows)
    note = "A layer imports only the layers below it. From zpcode, scanweb imports only wire and what is below it."
    parts += [f'<text x="24" y="{height - 20}" font-size="15" fill="#444">{escape(note)}</text>', "</svg>"]
    return "\n".join(parts) + "\n"


def _column(package: str, rows: list[list[str]]) -> list[str]:
    left, width, title, holds = COLUMNS[package]
    parts = [
        f'<text x="{left}" y="40" font-size="22" font-weight="700" fill="{COLOURS[package]}">{escape(title)}</text>',
        f'<text x="{left}" y="66" font-size="14" fill="#444">{escape(holds)}</text>',
    ]
    for number, names in enumerate(rows):
        parts += _band(package, names, TOP + number * (BAND + GAP), left, width)
    return parts


def _band(package: str, names: list[str], top: int, left: int, width: int) -> list[str]:
    equal = width / len(names)
    indent, size = (14, 16) if equal >= 130 else (8, 14) if len(names) < 6 else (6, 10)
    # Narrow boxes are as wide as their names ask for.
    parts, x = [], float(left)
    for name in names:
        share = equal if equal >= 130 else width * (len(name) + 4) / sum(len(one) + 4 for one in names)
        inside = " · ".join(subjects(package, name))
        room = int((share - 24) / 6.4)
        shown = inside if len(inside) <= room else inside[: room - 1].rstrip(" ·") + "…"
        middle = top + (21 if shown else 31)
        parts += [
            (
                f'<rect x="{x + 2:g}" y="{top}" width="{share - 4:g}" height="{BAND}" rx="6" fill="#fff" '
                f'stroke="{COLOURS[package]}" stroke-width="1.5"/>'
            ),
            f'<text x="{x + indent:g}" y="{middle}" font-size="{size}" font-weight="600" fill="#222">{escape(name)}</text>',
        ]
        if shown:
            parts.append(f'<text x="{x + indent:g}" y="{top + 40}" font-size="12" fill="#555">{escape(shown)}</text>')
        x += share
    return parts


if __name__ == "__main__":
    TARGET.write_text(draw(), "utf-8")
