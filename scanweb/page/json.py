"""A resolution as JSON, for programs: `docs/scanning.md` lists every field.

Sentences are in the reader's language; registry texts are in both languages. Fields that are empty in the registry are
left out.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import UTC, datetime
from typing import Any

import msgspec

from scanweb.page import wording
from scanweb.scan.resolver import Resolution
from zpcode.language.messages import Messages
from zpcode.wire.calendar import date_at
from zpcode.wire.card import ProductCard, TraceEvent
from zpcode.wire.scan_event import place_name
from zpcode.wire.vocabulary import Bilingual

_ENCODER = msgspec.json.Encoder()
_MAX_PRODUCTS = 1024


def _time(at: int) -> str:
    """Seconds since 1970 as RFC 3339, in UTC."""
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")


def _both(text: Bilingual) -> dict[str, str]:
    return {"zh": text.zh, "en": text.en}


class JsonBodies:
    """Renders resolutions as JSON."""

    def __init__(self, texts: dict[str, Messages]) -> None:
        self.texts = texts
        self._products: OrderedDict[int, tuple[ProductCard, dict[str, Any]]] = OrderedDict()

    def body(self, resolution: Resolution, language: str) -> bytes:
        """The JSON of a resolution. For codes that are not verified it is the same for every cause."""
        t = self.texts[language]
        not_verified = resolution.verdict.public == "not_verified"
        product = resolution.evidence.product
        body: dict[str, Any] = {
            "verdict": resolution.verdict.public,
            "tone": "bad" if not_verified else resolution.verdict.tone,
            "level": None if not_verified else resolution.evidence.level,
            "proof": None if not_verified else resolution.evidence.proof,
            "title": wording.title(resolution, t),
            "meaning": wording.meaning(resolution, t),
            "advice": wording.advice(resolution, t),
            "decision": self._decision(resolution, t),
            "code": None if not_verified else _code(resolution),
            "goods": None if not_verified else _goods(resolution),
            **self._product(None if not_verified or (product is not None and product.lost) else product),
            "history": None if not_verified else _history(resolution, t),
            "scanned": None if not_verified else wording.scanned(resolution, t),
            "checked_at": None if not_verified else _time(resolution.at),
        }
        return _ENCODER.encode(body)

    def _decision(self, resolution: Resolution, t: Messages) -> dict[str, Any] | None:
        standing, scope = resolution.outcome.standing, resolution.outcome.scope
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
        """The fields of the product card, encoded once for each card."""
        if product is None:
            return dict.fromkeys(_BLOCKS)
        entry = self._products.get(id(product))
        if entry is None:
            entry = self._products[id(product)] = (product, _blocks(product))
            if len(self._products) > _MAX_PRODUCTS:
                self._products.popitem(last=False)
        return entry[1]


_BLOCKS = ("product", "enterprise", "standards", "certificates", "recognition", "indicators", "commitments", "claims")
_OF_PRODUCT = ("gtin", "name", "brand", "model", "category", "tier", "picture", "mark")


def _blocks(product: ProductCard) -> dict[str, Any]:
    values: dict[str, Any] = {name: getattr(product, name) for name in _BLOCKS[1:]}
    values["product"] = {name: getattr(product, name) for name in _OF_PRODUCT}
    return {name: msgspec.Raw(_ENCODER.encode(values[name])) for name in _BLOCKS}


def _code(resolution: Resolution) -> dict[str, Any] | None:
    if resolution.code is None:
        return None
    identity, seal = resolution.code.identity, resolution.code.seal
    return {
        "gtin": identity.gtin,
        "lot": identity.lot,
        "serial": identity.serial.text if identity.serial else None,
        "key_id": seal.key_id if seal else None,
    }


def _goods(resolution: Resolution) -> dict[str, Any] | None:
    holder = resolution.evidence.batch or resolution.evidence.lot
    if holder is None:
        return None
    return {
        "lot": holder.lot,
        "production_date": holder.production_date,
        "expiry_date": holder.expiry_date,
        "journey": [_step(event) for event in holder.journey],
    }


def _step(event: TraceEvent) -> dict[str, Any]:
    """One event of the journey: a day as its date in Shanghai, a time in UTC."""
    return {
        "kind": event.kind,
        "at": date_at(event.at) if event.precision == "day" else _time(event.at),
        "place": _both(event.place),
        "by": _both(event.by),
        "note": _both(event.note),
        "document": event.document,
    }


def _history(resolution: Resolution, t: Messages) -> dict[str, Any] | None:
    history = resolution.evidence.history
    if history is None:
        return None
    first = _time(history.first_at) if history.scans else None
    return {"scans": history.scans, "first_at": first, "first_city": place_name(history.first_city, t.language)}
