"""Fetching the codes of a batch is recorded: who, which bytes of the file, and why.

One entry for each request that gets content. A download that is continued does not flood the log: what an entry of the last hour
covers adds none, and a second part within the hour is recorded as the whole file. So a caller adds at most two entries for a batch
in an hour, however many ranges it requests.
"""

from __future__ import annotations

import unicodedata
from datetime import datetime, timedelta
from typing import Final

from zpcode.errors import Finding, Refused, Text
from zpcode.language.visible import MAX_MARKS, is_blank, text_fault
from zpcode.rules.access import Caller, Role
from zpcode.rules.batches.batch import Batch
from zpcode.store import audit
from zpcode.store.database.session import Engine, transaction

ACTION: Final = "batch.download"
COVERED: Final = timedelta(hours=1)
MAX_REASON: Final = 200


def check_reason(caller: Caller, reason: str) -> None:
    """Raise Refused for a reason that is too long or has control characters, or for an operator without a reason.

    An enterprise fetches its own codes and need not say why. An operator fetches those of somebody else.
    """
    unfit = len(reason) > MAX_REASON or any(unicodedata.category(character)[0] == "C" for character in reason)
    unfit = unfit or text_fault(reason) is not None
    if unfit or (caller.role is Role.OPERATOR and is_blank(reason)):
        text = Text(
            f"请写明取码原因（reason，1 至 {MAX_REASON} 个字符，须有可见的字符，不含控制字符，一个字符最多带 {MAX_MARKS} 个组合符号）",
            f"say why the codes are fetched (reason, 1 to {MAX_REASON} characters that show something, no control characters, at most {MAX_MARKS} combining marks in a row)",
        )
        raise Refused(text, (Finding("reason", text, "reason", ascii(reason[:80])),))


def record(engine: Engine, batch: Batch, first: int, last: int, reason: str, *, caller: Caller, now: datetime) -> None:
    """Record that the caller gets the bytes `first` to `last` of the file's content. Raises Unavailable: then nothing is sent."""
    object_ = f"batch:{batch.number}"
    with transaction(engine) as connection:
        audit.lock(connection)
        since = now - COVERED
        ranges = [
            (int(entry.detail["first"]), int(entry.detail["last"]))
            for entry in audit.of_actor(connection, object_, ACTION, caller.name, since)
        ]
        if any(begin <= first and last <= end for begin, end in ranges):
            return
        if ranges:
            first, last = 0, batch.bytes - 1
        detail = {"first": first, "last": last, "bytes": batch.bytes, "sha256": batch.sha256, "reason": reason}
        audit.append(connection, at=now, actor=caller.name, action=ACTION, object_=object_, detail=detail)
