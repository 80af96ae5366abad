"""The same answer as JSON, for programs: `docs/scanning.md` lists every field.

Sentences are in the reader's language; registry texts are given in both. Fields that are empty in the
registry are left out.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import UTC, datetime
from typing import Any

import msgspec

from scanweb.page import wording
from scanweb.scan.resolver import ScanAnswer
from zpcode.language.messages import Messages
from zpcode.wire.calendar import date_at
from zpcode.wire.card import ProductCard, TraceEvent
from zpcode.wire.scan_event import place_name
from zpcode.wire.vocabulary import Bilingual

_ENCODER = msgspec.json.Encoder()
_KEPT = 1024


def _time(at: int) -> str:
    """RFC 3339, in UTC."""
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")


def _both(text: Bilingual) -> dict[str, str]:
    return {"zh": text.zh, "en": text.en}


class JsonAnswers:
    """Renders answers as JSON."""

    def __init__(self, texts: dict[str, Messages]) -> None:
        self.texts = texts
        self._products: OrderedDict[int, tuple[ProductCard, dict[str, Any]]] = OrderedDict()

    def answer(self, answer: ScanAnswer, language: str) -> bytes:
        """The JSON of an answer. Not-verified answers have one for each language, whatever the cause."""
        t = self.texts[language]
        alike = answer.verdict.public == "not_verified"
        told: dict[str, Any] = {
            "verdict": answer.verdict.public,
            "tone": "bad" if alike else answer.verdict.tone,
            "level": None if alike else answer.evidence.level,
            "proof": None if alike else answer.evidence.proof,
            "title": wording.title(answer, t),
            "meaning": wording.meaning(answer, t),
            "advice": wording.advice(answer, t),
            "decision": self._decision(answer, t),
            "code": None if alike else _code(answer),
            "goods": None if alike else _goods(answer),
            **self._product(None if alike else answer.evidence.product),
            "history": None if alike else _history(answer, t),
            "scanned": None if alike else wording.scanned(answer, t),
            "checked_at": None if alike else _time(answer.at),
        }
        return _ENCODER.encode(told)

    def _decision(self, answer: ScanAnswer, t: Messages) -> dict[str, Any] | None:
        standing, scope = answer.finding.standing, answer.finding.scope
        if standing is None:
            return None
        return {
            "scope": scope,
            "state": standing.state,
            "reason": standing.reason,
            "text": wording.reason(standing, t),
            "note": _both(standing.note),
            "notice": standing.notice,
            "effective_at": _time(standing.effective_at),
            "authority": _both(standing.decided_by),
        }

    def _product(self, product: ProductCard | None) -> dict[str, Any]:
        """The four blocks, encoded once for each card."""
        if product is None:
            return dict.fromkeys(_BLOCKS)
        found = self._products.get(id(product))
        if found is None:
            found = self._products[id(product)] = (product, _blocks(product))
            if len(self._products) > _KEPT:
                self._products.popitem(last=False)
        return found[1]


_BLOCKS = ("product", "enterprise", "standards", "certificates", "recognition", "indicators", "commitments", "claims")
_OF_PRODUCT = ("gtin", "name", "brand", "model", "category", "tier", "picture", "mark")


def _blocks(product: ProductCard) -> dict[str, Any]:
    values: dict[str, Any] = {name: getattr(product, name) for name in _BLOCKS[1:]}
    values["product"] = {name: getattr(product, name) for name in _OF_PRODUCT}
    return {name: msgspec.Raw(_ENCODER.encode(values[name])) for name in _BLOCKS}


def _code(answer: ScanAnswer) -> dict[str, Any] | None:
    if answer.code is None:
        return None
    identity, seal = answer.code.identity, answer.code.seal
    return {
        "gtin": identity.gtin,
        "lot": identity.lot,
        "serial": identity.serial.text if identity.serial else None,
        "key_id": seal.key_id if seal else None,
    }


def _goods(answer: ScanAnswer) -> dict[str, Any] | None:
    holder = answer.evidence.batch or answer.evidence.lot
    if holder is None:
        return None
    return {
        "lot": holder.lot,
        "production_date": holder.production_date,
        "expiry_date": holder.expiry_date,
        "journey": [_step(event) for event in holder.journey],
    }


def _step(event: TraceEvent) -> dict[str, Any]:
    """One event of the journey: a day as the date it was in Shanghai, a time in UTC."""
    return {
        "kind": event.kind,
        "at": date_at(event.at) if event.precision == "day" else _time(event.at),
        "place": _both(event.place),
        "by": _both(event.by),
        "note": _both(event.note),
        "document": event.document,
    }


def _history(answer: ScanAnswer, t: Messages) -> dict[str, Any] | None:
    history = answer.evidence.history
    if history is None:
        return None
    first = _time(history.first_at) if history.scans else None
    return {"scans": history.scans, "first_at": first, "first_city": place_name(history.first_city, t.language)}
