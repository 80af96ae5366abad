"""An enterprise that uses up everything it may decide, so that no office can decide any more."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tests.attack.target import Attempt, Attempts, Target
from zpcode.rules.status.permissions import MAX_TEXT

_TRIES: Final = 120
_QUANTITY: Final = 200


def decisions_that_fill_a_card(target: Target) -> Attempts:
    """Long notes on ranges and scheduled decisions of an enterprise never keep office and operator from deciding."""
    batch = _own_batch(target)
    refused = 0
    begin = datetime.now(UTC) + timedelta(days=1)
    for number in range(_TRIES):
        note = {"zh": f"{number:03}" + "长" * (MAX_TEXT - 3), "en": f"{number:03}" + "x" * (MAX_TEXT - 3)}
        coming = (begin + timedelta(seconds=number)).isoformat()
        for effective in (None, coming):
            order = _order(batch, number % _QUANTITY, note=note, effective_at=effective)
            answer = target.api.post("/v1/status-changes", json=order, headers=target.demo.tokens["enterprise"])
            refused += answer.status_code == 409
    yield Attempt("the enterprise, beyond its share", "" if refused else "nothing was refused")
    for who in ("regulator", "operator"):
        for effective in (None, (begin - timedelta(hours=1)).isoformat()):
            order = _order(batch, 0, notice="浙市监召〔2026〕1号", effective_at=effective)
            answer = target.api.post("/v1/status-changes", json=order, headers=target.demo.tokens[who])
            breach = "" if answer.status_code in {200, 201} else f"status {answer.status_code}: {answer.text[:200]}"
            yield Attempt(f"{who}, {'at once' if effective is None else 'scheduled'}", breach)


def _own_batch(target: Target) -> int:
    """A new batch of items of the attacker's own, which no other attack uses."""
    mine = target.demo.tokens["enterprise"]
    gtin = target.api.get("/v1/products", headers=mine).json()["items"][0]["gtin"]
    order = {"level": "item", "gtin": gtin, "quantity": _QUANTITY}
    answer = target.api.post("/v1/batches", json=order, headers=mine | {"Idempotency-Key": secrets.token_hex(8)})
    return int(answer.raise_for_status().json()["number"])


def _order(batch: int, index: int, **more: Any) -> dict[str, Any]:
    order = {"scope": "range", "target": str(batch), "first": index, "last": index, "action": "flag",
             "reason": "cloning-suspected", "legal_basis": "产品质量法", **more}  # fmt: skip
    return {name: value for name, value in order.items() if value is not None}
