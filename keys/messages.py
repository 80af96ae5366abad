"""Checks the fields of a request and builds the bytes to sign from them.

The signer signs only bytes that it has built itself. So a caller cannot make it sign a keyring, a message of another protocol,
or an identity with a wrong check digit.
"""

from __future__ import annotations

import numpy as np

from keys.audit_head import HASH_BYTES, MAX_ENTRY, SignedHead
from keys.protocol import MAX_ITEMS, Countersign, Items, SignLotCode, SignProductCode
from zpcode.errors import SignerError, Text
from zpcode.wire.bulk import serials
from zpcode.wire.gs1 import is_gtin14, is_lot
from zpcode.wire.payload import MAX_BATCH, SERIAL_LENGTH, Identity, signed_bytes
from zpcode.wire.permutation import SLOTS

_SLOT_BYTES = 8


def refusal(zh: str, en: str) -> SignerError:
    """A refusal of the signer, with the reason."""
    return SignerError(Text(f"签名服务拒绝：{zh}", f"the signer refuses: {en}"))


def messages_of(request: SignProductCode | SignLotCode | Items) -> list[bytes]:
    """The bytes to sign for every code of the request, in order. Raises SignerError with the wrong field."""
    if not is_gtin14(request.gtin):
        raise refusal(f"GTIN {request.gtin[:20]!r} 无效", f"{request.gtin[:20]!r} is not a GTIN")
    if isinstance(request, Items):
        return _items(request)
    lot = request.lot if isinstance(request, SignLotCode) else None
    if lot is not None and not is_lot(lot):
        raise refusal(f"批号 {lot[:30]!r} 无效", f"lot {lot[:30]!r} is not 1 to 20 of 0-9 A-Z . -")
    return [signed_bytes(request.key_id, Identity(request.gtin, lot=lot).path)]


def _items(request: Items) -> list[bytes]:
    if not 1 <= request.batch <= MAX_BATCH:
        raise refusal(f"批次序号须在 1 与 {MAX_BATCH} 之间", f"the batch number is not between 1 and {MAX_BATCH}")
    count, rest = divmod(len(request.slots), _SLOT_BYTES)
    if rest or not 1 <= count <= MAX_ITEMS:
        raise refusal(f"一次须签 1 至 {MAX_ITEMS} 个", f"one request signs 1 to {MAX_ITEMS} items of 8 bytes each")
    slots = np.frombuffer(request.slots, "<u8").astype(np.uint64, copy=False)
    if int(slots.max()) >= SLOTS:
        raise refusal("位次超出范围", f"a slot is not below {SLOTS}")
    prefix = signed_bytes(request.key_id, f"/01/{request.gtin}/21/")
    text = serials(request.batch, slots).tobytes()
    return [prefix + text[at : at + SERIAL_LENGTH] for at in range(0, len(text), SERIAL_LENGTH)]


def check_head(request: Countersign, newest: SignedHead | None) -> None:
    """Raises SignerError for a head that is not valid, or that contradicts the newest one that was countersigned.

    An id below the newest, or the same id with another hash, is a chain that was cut or written again.
    """
    if not 1 <= request.id <= MAX_ENTRY or len(request.hash) != HASH_BYTES:
        raise refusal("审计链头不合规", f"a head has an id from 1 to {MAX_ENTRY} and a hash of {HASH_BYTES} bytes")
    if newest is None or request.id > newest.id or (request.id == newest.id and request.hash == newest.hash):
        return
    if request.id < newest.id:
        raise refusal(
            f"审计链头 {request.id} 早于已会签的 {newest.id}：审计日志被截短，或数据库是从备份恢复的",
            f"audit head {request.id} is older than {newest.id}, which it has countersigned: "
            "the audit log was cut, or the database was restored from a backup",
        )
    raise refusal(
        f"审计条目 {request.id} 的哈希与已会签的不同：审计日志被改写",
        f"audit entry {request.id} has another hash than the one it has countersigned: the audit log was rewritten",
    )
