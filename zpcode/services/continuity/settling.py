"""A person confirms or rejects what waits after a recovery, by name, or all of a list that he has read.

Who confirms all names the digest of the list, so nothing else is confirmed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from zpcode.errors import Conflict, Finding, NotFound, Text
from zpcode.rules.status.decisions import ACTIONS
from zpcode.rules.status.permissions import StatusChange
from zpcode.services.batches.reserve import put_batch_cards
from zpcode.services.continuity import confirm as decisions
from zpcode.services.continuity.records import activate, confirm_record
from zpcode.services.continuity.report import DIGEST_DIGITS, RecoverySetting
from zpcode.services.continuity.waiting import ACTIVATION, RECORD, digest_of, listing
from zpcode.services.records.recovered import logged_changes
from zpcode.store import audit, batches, recovery, recovery_held
from zpcode.store.database.session import transaction
from zpcode.wire.vocabulary import Scope

_NUMBER_DIGITS: Final = 8


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
        with logged_changes(connection, setting.caller, setting.now, f"batch:{number}"):
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
        with logged_changes(connection, setting.caller, setting.now, f"batch:{number}"):
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
