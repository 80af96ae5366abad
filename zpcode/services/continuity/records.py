"""A person confirms a batch of which Redis has a card and nobody a file: only if the signer's log proves its codes.

The codes are then the same again, to the byte. The log has no lot, no dates and no activation: these come from Redis alone, so a
person compares them with the order before.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from zpcode.errors import Conflict, Finding, NotFound, Text
from zpcode.rules.batches.batch import Batch
from zpcode.services.batches import code_file
from zpcode.services.continuity.batches import BatchRecovery
from zpcode.services.continuity.derived import write_cards
from zpcode.services.continuity.proofs import Proofs
from zpcode.services.continuity.report import RecoverySetting
from zpcode.services.records.recovered import logged_changes
from zpcode.store import audit, batches, recovery
from zpcode.store.database.session import Connection, transaction
from zpcode.wire.calendar import today
from zpcode.wire.card import BatchCard, batch_key


def batch_recovery(setting: RecoverySetting, connection: Connection) -> BatchRecovery:
    """What records batches again in this transaction."""
    proofs = Proofs(setting.exports, setting.keyring, setting.signer)
    return BatchRecovery(connection, proofs, setting.base, setting.caller, setting.now)


def activate(connection: Connection, setting: RecoverySetting, number: int, activated_at: datetime) -> None:
    """Enter an activation that a person has confirmed. The caller derives the cards."""
    audit.append(
        connection,
        at=setting.now,
        actor=setting.caller.name,
        action="batch.activate",
        object_=f"batch:{number}",
        detail={"confirmed": True, "activated_at": activated_at.isoformat()},
    )
    batches.change(connection, number, activated_at=activated_at)


def confirm_record(setting: RecoverySetting, number: int) -> None:
    """Write the file of a lost batch again and record the batch, as Redis described it.

    Raises NotFound if it does not wait, Conflict if the signer's log does not prove its codes, SignerError if its key may sign no
    more, and as `code_file.produce` does.
    """
    if setting.signer is None:
        raise _unproven(number)
    with transaction(setting.engine) as connection:
        card, batch = _waiting(setting, connection, number)
    if not Proofs(setting.exports, setting.keyring, setting.signer).signed([batch]):
        raise _unproven(number)
    code_file.produce(batch, setting.signer, setting.exports)
    with transaction(setting.engine) as connection:
        audit.lock(connection)
        if _waiting(setting, connection, number)[0] != card:
            raise _unproven(number)
        batch_records = batch_recovery(setting, connection)
        with logged_changes(connection, setting.caller, setting.now, f"batch:{number}"):
            if not batch_records.recover({number: card}):
                raise _unproven(number)
        for activation in batch_records.activations:
            activate(connection, setting, number, activation.activated_at)
        write_cards(connection, [batch_key(number), *batch_records.lot_keys], today(setting.now))


def _waiting(setting: RecoverySetting, connection: Connection, number: int) -> tuple[BatchCard, Batch]:
    body = recovery.signed_batches(connection).get(number)
    card = None if body is None else msgspec.msgpack.decode(body, type=BatchCard)
    batch = None if card is None else batch_recovery(setting, connection).described(card)
    if card is None or batch is None:
        raise NotFound(Text(f"没有待确认的批次 {number}", f"no batch {number} waits to be confirmed"))
    return card, batch


def card_text(card: BatchCard) -> Text:
    """What Redis says of a batch, for the person who compares it."""
    since = "-" if not card.activated_at else datetime.fromtimestamp(card.activated_at, UTC).isoformat()
    fields = (card.level, card.gtin, card.quantity, card.lot or "-", card.production_date or "-", card.expiry_date or "-", since)  # fmt: skip
    zh = "级别 {}，GTIN {}，{} 枚，批号 {}，生产日期 {}，有效期至 {}，启用时间 {}"
    en = "level {}, GTIN {}, {} items, lot {}, made {}, expires {}, active since {}"
    return Text(zh.format(*fields), en.format(*fields))


def _unproven(number: int) -> Conflict:
    text = Text(
        f"批次 {number} 不能确认：签名服务的日志不能证明其码，或签名服务没有应答；找回码文件后再执行 zpcode recover",
        f"batch {number} cannot be confirmed: the signer's log does not prove its codes, or the signer does not answer; find its"
        " code file and run zpcode recover again",
    )
    return Conflict(text, (Finding("unproven-record", text),))
