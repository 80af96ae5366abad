"""What an answer says, in one language: title, meaning, advice, and the sentence on its scan history.

Shared by the page and the JSON, so that both say the same. Never that a thing is the original: a seal
proves who issued a code and nothing else.
"""

from __future__ import annotations

from scanweb.scan.resolver import ScanAnswer
from zpcode.language.messages import Messages
from zpcode.wire.card import History, Standing
from zpcode.wire.scan_event import place_name
from zpcode.wire.verdict import Proof, Verdict


def title(answer: ScanAnswer, t: Messages) -> str:
    """The verdict in a word or two."""
    return t(f"verdict.{answer.verdict.public}.title")


def advice(answer: ScanAnswer, t: Messages) -> str:
    """What to do, in a sentence or two."""
    return t(f"verdict.{answer.verdict.public}.advice")


def meaning(answer: ScanAnswer, t: Messages) -> str:
    """What the verdict means, in a sentence."""
    verdict, evidence = answer.verdict, answer.evidence
    if verdict is Verdict.EXPIRED:
        return t("verdict.expired.meaning", date=t.date(expiry(answer)))
    variant = ""
    if verdict in {Verdict.VERIFIED, Verdict.REVOKED} and answer.finding.old_stock:
        variant = "ended."
    elif verdict is Verdict.VERIFIED and evidence.proof is Proof.ONLINE:
        variant = "online."
    elif verdict is Verdict.UNCONFIRMED and evidence.proof is not Proof.SEALED:
        variant = "unsealed."
    return t(f"verdict.{verdict.public}.{variant}meaning")


def expiry(answer: ScanAnswer) -> str:
    """The expiry date the verdict went by; empty where none is stated."""
    evidence = answer.evidence
    if evidence.batch is not None:
        return evidence.batch.expiry_date
    return "" if evidence.lot is None else evidence.lot.expiry_date


def reason(standing: Standing, t: Messages) -> str:
    """A decision's reason in words."""
    return t.or_else(f"reason.{standing.reason}", t("reason.other"))


def scanned(answer: ScanAnswer, t: Messages) -> str:
    """The sentence on the scan history. "First" only where the history is known to be complete."""
    evidence = answer.evidence
    if not evidence.level.is_item:
        return t("history.shared")
    history = evidence.history
    if history is None:
        return t("history.unavailable")
    if evidence.proof is Proof.MISSING or answer.looking:
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
