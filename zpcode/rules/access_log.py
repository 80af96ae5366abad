"""What the audit log says of API keys, and where the stored keys differ from it.

Somebody who can write to the database can insert a key, change one, or undo a revocation. Each key therefore needs its entry in the
log, word for word, with a digest of the stored hash of its secret.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from zpcode.rules.access import ApiKey
from zpcode.rules.audit import Entry

CREATE: Final = "access.create"
RECORD: Final = "access.record"
"""The entry that a migration writes about a key of before, in place of the entry of its creation."""
REVOKE: Final = "access.revoke"
ACTIONS: Final = (CREATE, RECORD, REVOKE)
_PREFIX: Final = "api-key:"


@dataclass(frozen=True, slots=True)
class KeyMismatch:
    """An API key that differs from the audit log.

    `kind`: `unlogged` (no entry creates it), `altered` (its entry has other content), `missing` (its row is gone), `revived` (the
    log has its revocation, the row has not), `unlogged revocation` (the reverse, or at another time).
    """

    key_id: str
    kind: str


def object_of(key: ApiKey) -> str:
    """The object of the entries about a key."""
    return _PREFIX + key.id


def audit_detail(key: ApiKey, secret_hash: bytes) -> dict[str, Any]:
    """The detail of the entries about a key. `secret` is a digest of the stored hash: it proves nothing to a caller."""
    secret = hashlib.sha256(secret_hash).hexdigest()
    return {"role": key.role.value, "subject": key.subject, "label": key.label, "secret": secret}


def mismatches(keys: Iterable[tuple[ApiKey, bytes]], entries: Iterable[Entry]) -> list[KeyMismatch]:
    """Compare the stored keys, each with the hash of its secret, with the entries of ACTIONS in the order of the log."""
    created: dict[str, Entry] = {}
    revoked: dict[str, datetime] = {}
    for entry in entries:
        id_ = entry.object.removeprefix(_PREFIX)
        if entry.action == REVOKE:
            revoked[id_] = entry.at
        else:
            created[id_] = entry
    wrong: list[KeyMismatch] = []
    for key, secret_hash in keys:
        entry_of_key = created.pop(key.id, None)
        kind = _kind(key, secret_hash, entry_of_key, revoked.get(key.id))
        if kind:
            wrong.append(KeyMismatch(key.id, kind))
    return wrong + [KeyMismatch(id_, "missing") for id_ in created]


def _kind(key: ApiKey, secret_hash: bytes, entry: Entry | None, revoked: datetime | None) -> str:
    if entry is None:
        return "unlogged"
    if entry.detail != audit_detail(key, secret_hash) or (entry.action == CREATE and entry.at != key.created_at):
        return "altered"
    if key.revoked_at == revoked:
        return ""
    return "revived" if key.revoked_at is None else "unlogged revocation"
