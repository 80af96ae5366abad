"""A card is derived in one place: a change of a derivation is a change of `zpcode/rules/cards.py` only."""

from __future__ import annotations

import ast
from pathlib import Path

CARDS = {"ProductCard", "BatchCard", "LotCard", "NoticesCard", "Timeline", "RangeLayer"}
DERIVING = {
    "zpcode/rules/cards.py",
    "zpcode/rules/status/layers.py",
    "zpcode/rules/status/timelines.py",
    "zpcode/wire/card.py",
    "zpcode/wire/timelines.py",
}


def calls(path: Path) -> set[str]:
    """The names of everything a module calls: `f()` and `a.f()` are both `f`."""
    called = (node.func for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call))
    return {
        node.id if isinstance(node, ast.Name) else node.attr
        for node in called
        if isinstance(node, ast.Name | ast.Attribute)
    }


def test_cards_are_made_by_their_rules_only(root: Path) -> None:
    """No other module calls a card's constructor."""
    making = {str(path.relative_to(root)) for path in (root / "zpcode").rglob("*.py") if calls(path) & CARDS}
    assert "zpcode/rules/cards.py" in making
    assert making <= DERIVING


def test_no_service_changes_a_part_of_a_card_by_itself(root: Path) -> None:
    """A module that reads cards and replaces fields of a struct would derive a card step by step."""
    replacing = []
    for path in (root / "zpcode" / "services").rglob("*.py"):
        source = path.read_text("utf-8")
        if "structs.replace" in source and any(card in source for card in CARDS):
            replacing.append(str(path.relative_to(root)))
    assert replacing == []
