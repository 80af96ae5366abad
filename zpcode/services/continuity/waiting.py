"""What waits for a person after a recovery: listed, and confirmed or rejected by name or all together.

Each thing that waits has a name: `SCOPE:TARGET` of a decision, `activation:NUMBER`, `record:NUMBER` of a batch whose codes the signer's
log proves. The list has a digest. Who confirms all names the digest of the list that he has read, so nothing else is confirmed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final, NamedTuple

import msgspec

from zpcode.errors import Conflict, Finding, NotFound, Text
from zpcode.rules.status.decisions import ACTIONS
from zpcode.rules.status.permissions import StatusChange
from zpcode.services.batches.reserve import put_batch_cards
from zpcode.services.continuity import confirm as decisions
from zpcode.services.continuity.confirm import standings_of
from zpcode.services.continuity.records import activate, card_text, confirm_record
from zpcode.services.continuity.report import DIGEST_DIGITS, RecoverySetting
from zpcode.store import audit, batches, recovery, recovery_held
from zpcode.store.database.session import Connection, transaction
from zpcode.store.recovery_held import HeldActivation, HeldDecision, HeldKind
from zpcode.wire.card import BatchCard, Standing
from zpcode.wire.vocabulary import Scope

ACTIVATION: Final = "activation"
RECORD: Final = "record"
_NUMBER_DIGITS: Final = 8


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


def confirm(setting: RecoverySetting, names: Sequence[str]) -> list[Text]:
    """Confirm everything with these names; says what was recorded.

    Raises NotFound, Refused for a name that is none, and as `confirm_record` and `zpcode.services.continuity.confirm.confirm` do.
    """
    return [line for name in names for line in _settled(setting, name, confirmed=True)]


def reject(setting: RecoverySetting, names: Sequence[str]) -> list[Text]:
    """Reject everything with these names: what a recovery entered is lifted, and nothing else changes. Raises as `confirm`."""
    return [line for name in names for line in _settled(setting, name, confirmed=False)]


def confirm_all(setting: RecoverySetting, digest: str) -> list[Text]:
    """Confirm everything that may be confirmed, if the list is still the one with this digest. Raises Conflict if it is not."""
    with transaction(setting.engine) as connection:
        items = listing(connection, setting.now)
    if digest_of(items) != digest:
        text = Text(
            f"待确认的内容与摘要 {digest[:DIGEST_DIGITS]} 不符；请重新执行 zpcode recover 查看",
            f"what waits does not have the digest {digest[:DIGEST_DIGITS]}: run zpcode recover and read it again",
        )
        raise Conflict(text, (Finding("another-list", text),))
    refused = {item.name for item in items if not item.confirmable}
    return confirm(setting, [name for name in dict.fromkeys(item.name for item in items) if name not in refused])


def _settled(setting: RecoverySetting, name: str, *, confirmed: bool) -> list[Text]:
    kind, _, target = name.partition(":")
    if kind in {RECORD, ACTIVATION}:
        if not target.isdecimal() or len(target) > _NUMBER_DIGITS:
            raise _unknown(name)
        settle = _settle_record if kind == RECORD else _settle_activation
        settle(setting, int(target), confirmed=confirmed)
        return [
            Text(f"{name}：{'已确认' if confirmed else '已否定'}", f"{name} {'confirmed' if confirmed else 'rejected'}")
        ]
    if kind not in set(Scope):
        raise _unknown(name)
    with transaction(setting.engine) as connection:
        audit.lock(connection)
        settle_decisions = decisions.confirm if confirmed else decisions.reject
        made = settle_decisions(connection, Scope(kind), target, caller=setting.caller, now=setting.now)
    return [_made_text(change) for change in made]


def _settle_record(setting: RecoverySetting, number: int, *, confirmed: bool) -> None:
    if confirmed:
        return confirm_record(setting, number)
    with transaction(setting.engine) as connection:
        if number not in recovery.signed_batches(connection):
            raise _unknown(f"{RECORD}:{number}")
        recovery.drop_card(connection, number)
    return None


def _settle_activation(setting: RecoverySetting, number: int, *, confirmed: bool) -> None:
    with transaction(setting.engine) as connection:
        batch = batches.get(connection, number, lock=True)
        waiting = {one.number: one for one in recovery_held.held_activations(connection)}.get(number)
        if batch is None or waiting is None:
            raise _unknown(f"{ACTIVATION}:{number}")
        audit.lock(connection)
        if confirmed:
            activate(connection, setting, number, waiting.activated_at)
            put_batch_cards(connection, replace(batch, activated_at=waiting.activated_at))
        recovery_held.settle_activation(connection, number)


def _unknown(name: str) -> NotFound:
    return NotFound(Text(f"没有待确认的 {name[:80]}", f"nothing waits under the name {name[:80]}"))


def _made_text(change: StatusChange) -> Text:
    items = "" if change.first is None else f" {change.first}–{change.last}"
    what = f"{change.scope}:{change.target}{items}"
    end = f"{change.action} ({change.reason}) {change.notice}".rstrip()
    return Text(
        f"已记录：{what} {change.authority.zh} {ACTIONS[change.action].zh} {end}",
        f"recorded: {what} by {change.authority.en or change.authority.zh}: {end}",
    )


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
    why = decisions.refusal_of(connection, waiting, now)
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
