"""The sentences of a resolution in one language: title, meaning, advice, and the sentence on the scan history.

The page and the JSON share them. No sentence says that a product is genuine: a seal proves who issued the code and
nothing else.
"""

from __future__ import annotations

from scanweb.scan.resolver import Resolution
from zpcode.language.messages import Messages
from zpcode.wire.card import History, Standing
from zpcode.wire.scan_event import place_name
from zpcode.wire.verdict import Proof, Verdict


def title(resolution: Resolution, t: Messages) -> str:
    """The verdict in a word or two."""
    return t(f"verdict.{resolution.verdict.public}.title")


def advice(resolution: Resolution, t: Messages) -> str:
    """What to do, in a sentence or two."""
    lost = "lost." if is_lost(resolution) else ""
    return t(f"verdict.{resolution.verdict.public}.{lost}advice")


def is_lost(resolution: Resolution) -> bool:
    """Whether the code cannot be confirmed because the record of its batch or product is lost: scanning again does not help."""
    return resolution.verdict is Verdict.UNCONFIRMED and resolution.evidence.confirmed


def meaning(resolution: Resolution, t: Messages) -> str:
    """What the verdict means, in a sentence."""
    verdict, evidence = resolution.verdict, resolution.evidence
    if verdict is Verdict.EXPIRED:
        return t("verdict.expired.meaning", date=t.date(expiry(resolution)))
    variant = ""
    if verdict in {Verdict.VERIFIED, Verdict.REVOKED} and resolution.outcome.old_stock:
        variant = "ended."
    elif verdict is Verdict.VERIFIED and evidence.proof is Proof.ONLINE:
        variant = "online."
    elif is_lost(resolution):
        variant = "lost."
    elif verdict is Verdict.UNCONFIRMED and evidence.proof is not Proof.SEALED:
        variant = "unsealed."
    return t(f"verdict.{verdict.public}.{variant}meaning")


def expiry(resolution: Resolution) -> str:
    """The expiry date that the verdict used; empty where none is stated."""
    evidence = resolution.evidence
    if evidence.batch is not None:
        return evidence.batch.expiry_date
    return "" if evidence.lot is None else evidence.lot.expiry_date


def reason(standing: Standing, t: Messages) -> str:
    """A decision's reason in words."""
    return t.or_else(f"reason.{standing.reason}", t("reason.other"))


def scanned(resolution: Resolution, t: Messages) -> str:
    """The sentence on the scan history. It says "first" only where the history is complete."""
    evidence = resolution.evidence
    if not evidence.level.is_item:
        return t("history.shared")
    history = evidence.history
    if history is None:
        return t("history.unavailable")
    if evidence.proof is Proof.MISSING or resolution.uncounted:
        return _so_far(history, t)
    if history.scans <= 1:
        return t("history.first")
    return _sentence("history.nth", history, t)


def _so_far(history: History, t: Messages) -> str:
    return t("history.none_yet") if history.scans == 0 else _sentence("history.so_far", history, t)


def _sentence(key: str, history: History, t: Messages) -> str:
    when, city = t.moment(history.first_at), history.first_city
    if not city:
        return t.words[key].format(n=history.scans, when=when)
    return t.words[f"{key}.place"].format(n=history.scans, when=when, where=place_name(city, t.language))
