"""What waits for a person after a recovery: a list with a digest (`zpcode.services.continuity.settling` confirms and rejects).

Each thing that waits has a name: `SCOPE:TARGET` of a decision, `activation:NUMBER`, `record:NUMBER` of a batch whose codes the signer's
log proves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Final, NamedTuple

import msgspec

from zpcode.errors import Text
from zpcode.services.continuity.confirm import refusal_of, standings_of
from zpcode.services.continuity.records import card_text
from zpcode.services.continuity.report import DIGEST_DIGITS
from zpcode.store import recovery, recovery_held
from zpcode.store.database.session import Connection
from zpcode.store.recovery_held import HeldActivation, HeldDecision, HeldKind
from zpcode.wire.card import BatchCard, Standing

ACTIVATION: Final = "activation"
RECORD: Final = "record"


class WaitingItem(NamedTuple):
    """One thing that waits: its name, what Redis says of it, and whether it may be confirmed. Several may have one name."""

    name: str
    text: Text
    confirmable: bool = True


def listing(connection: Connection, now: datetime) -> list[WaitingItem]:
    """Everything that waits, in a lasting order."""
    records = (
        WaitingItem(f"{RECORD}:{number}", card_text(msgspec.msgpack.decode(body, type=BatchCard)))
        for number, body in sorted(recovery.signed_batches(connection).items())
    )
    activations = (
        WaitingItem(f"{ACTIVATION}:{one.number}", _activation_text(one))
        for one in recovery_held.held_activations(connection)
    )
    held_ones = recovery_held.held_decisions(connection)
    return [*records, *activations, *(_decision_item(connection, one, now) for one in held_ones)]


def digest_of(items: Collection[WaitingItem]) -> str:
    """The digest of a list, 32 hex digits."""
    return hashlib.sha256(msgspec.json.encode(list(items))).hexdigest()[:DIGEST_DIGITS]


def _activation_text(waiting: HeldActivation) -> Text:
    since = waiting.activated_at.isoformat()
    return Text(
        f"缓存显示自 {since} 起已启用，现为未启用", f"Redis showed it active since {since}; it is not active now"
    )


def _decision_item(connection: Connection, waiting: HeldDecision, now: datetime) -> WaitingItem:
    shown = shown_text(waiting)
    span = "" if waiting.span is None else f" {waiting.first}–{waiting.last}"
    if waiting.kind is HeldKind.GRAVER:
        held_now = Text("现按此状态，不显示其文字与机关", "this state holds, without its texts and names")
    else:
        held_now = Text("现按较重的决定", "the graver decision holds")
    why = refusal_of(connection, waiting, now)
    if why is not None:
        held_now = Text(
            f"{held_now.zh}；不能照此确认（{why.zh}），请重新决定后 --reject",
            f"{held_now.en}; it cannot be confirmed as it is ({why.en}): decide anew, then --reject",
        )
    text = Text(
        f"{span} 缓存显示 {shown.zh}。{held_now.zh}".strip(), f"{span} Redis showed {shown.en}. {held_now.en}".strip()
    )
    return WaitingItem(f"{waiting.scope}:{waiting.target}", text, why is None)


def shown_text(waiting: HeldDecision) -> Text:
    """What Redis showed of a target, in words."""
    texts = [standing_text(one) for one in standings_of(waiting)]
    return Text("；".join(one.zh for one in texts) or "正常", "; ".join(one.en for one in texts) or "good")


def standing_text(standing: Standing) -> Text:
    """What Redis claims of a decision, for a person who compares it. It has only texts that a decision may have."""
    at = datetime.fromtimestamp(standing.effective_at, UTC).isoformat()
    who = standing.decided_by
    reason = standing.reason or "-"
    zh = f"{standing.state} 自 {at}，机关 {who.zh or '不明'}，理由 {reason}，公告 {standing.notice or '-'}，说明 {standing.note.zh or '-'}"
    en = (
        f"{standing.state} since {at}, by {who.en or who.zh or 'unknown'}, reason {reason}, notice {standing.notice or '-'},"
        f" note {standing.note.en or standing.note.zh or '-'}"
    )
    return Text(zh, en)
