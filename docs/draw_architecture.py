"""Draws docs/pictures/architecture.svg from the import contracts in pyproject.toml: `python docs/draw_architecture.py`.

Each floor is a band. What stands on it may import what stands below, never what stands above; import-linter holds the code
to that (`make check`). The picture is the same to the byte every time, and a test compares it with what is checked in.
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
"""Package: left edge, width, title, what it holds and never holds."""
SIGNER: Final = ("__main__", "server", "signer · ceremony", "client · keyring", "document · es256", "files · settings")
COLOURS: Final = {"zpcode": "#0b5d4f", "scanweb": "#1f4e8c", "keys": "#7a4a12"}


def layers(package: str, root: Path = ROOT) -> list[list[str]]:
    """The floors of a package from top to bottom, each with what stands side by side on it."""
    contracts: list[dict[str, Any]] = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["tool"][
        "importlinter"
    ]["contracts"]
    for contract in contracts:
        if contract["type"] == "layers" and contract["containers"] == [package]:
            return [floor.split(" | ") for floor in contract["layers"]]
    raise LookupError(package)


def wings(package: str, floor: str, root: Path = ROOT) -> list[str]:
    """The folders on a floor: the same nouns again and again."""
    folder = root / package / floor
    return sorted(path.name for path in folder.glob("*/") if (path / "__init__.py").exists())


def draw() -> str:
    """The picture as SVG."""
    floors = {"zpcode": layers("zpcode"), "scanweb": layers("scanweb"), "keys": [[name] for name in SIGNER]}
    height = TOP + max(map(len, floors.values())) * (BAND + GAP) + 56
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
            'font-family="system-ui, sans-serif">'
        ),
        "<title>The floors of zpcode, scanweb and keys: each may import only what stands below it</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#fbfaf7"/>',
    ]
    for package, rows in floors.items():
        parts += _column(package, rows)
    note = "A floor imports only what stands below it. scanweb sees of zpcode only wire, errors, telemetry, language and ratelimit."
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
    share = width / len(names)
    parts = []
    for place, name in enumerate(names):
        x = left + place * share
        inside = " · ".join(wings(package, name))
        room = int((share - 24) / 6.4)
        shown = inside if len(inside) <= room else inside[: room - 1].rstrip(" ·") + "…"
        middle = top + (21 if shown else 31)
        parts += [
            (
                f'<rect x="{x + 2:g}" y="{top}" width="{share - 4:g}" height="{BAND}" rx="6" fill="#fff" '
                f'stroke="{COLOURS[package]}" stroke-width="1.5"/>'
            ),
            f'<text x="{x + 14:g}" y="{middle}" font-size="{14 if share < 130 else 16}" font-weight="600" fill="#222">{escape(name)}</text>',
        ]
        if shown:
            parts.append(f'<text x="{x + 14:g}" y="{top + 40}" font-size="12" fill="#555">{escape(shown)}</text>')
    return parts


if __name__ == "__main__":
    TARGET.write_text(draw(), "utf-8")
