"""API keys: create, list and revoke them, and authenticate requests."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from zpcode.errors import Finding, NotFound, Refused, Text
from zpcode.rules import access as rules
from zpcode.rules import access_log
from zpcode.rules.access import ApiKey, Caller, Role
from zpcode.rules.paging import page_size
from zpcode.store import access, audit
from zpcode.store.database.session import Connection, Engine, transaction

_NO_HASH: Final = bytes(32)  # compared instead of the hash of an unknown key; no known secret has this hash


@dataclass(frozen=True, slots=True)
class NewKey:
    """A new key. `token` is what the caller sends; it is shown only once."""

    key: ApiKey
    token: str = field(repr=False)


def create(
    engine: Engine,
    role: Role,
    subject: str,
    label: str,
    *,
    caller: Caller,
    now: datetime,
    randomness: Callable[[int], bytes] = secrets.token_bytes,
) -> NewKey:
    """Create a key for an enterprise (USCC), a regulator (region code) or an operator (`*`). `label` says who or what uses it.

    Raises Forbidden unless the caller is the operator, Refused if the subject is not valid or the enterprise is not
    registered, Unavailable.
    """
    rules.may_administer(caller)
    subject = rules.key_subject(role, subject, label)
    secret = rules.secret_text(randomness(rules.SECRET_BYTES))
    key = ApiKey(rules.key_id(randomness(rules.KEY_ID_BYTES)), role, subject, label, now)
    with transaction(engine) as connection:
        if role is Role.ENTERPRISE and not access.is_registered(connection, subject):
            text = Text("登记册中没有这家企业，请先导入", "the registry has no such enterprise; import it first")
            raise Refused(text, (Finding("not_registered", text, "/subject", subject),))
        stored = access.StoredKey(key, rules.secret_hash(secret))
        access.add(connection, *stored)
        _audit(connection, stored, caller, now, access_log.CREATE)
    return NewKey(key, rules.token(key.id, secret))


def revoke(engine: Engine, key_id: str, *, caller: Caller, now: datetime) -> ApiKey:
    """Revoke a key. It is refused from the next request on. A second revocation changes nothing.

    Raises Forbidden unless the caller is the operator, NotFound, Unavailable.
    """
    rules.may_administer(caller)
    with transaction(engine) as connection:
        stored = access.get(connection, key_id, lock=True)
        if stored is None:
            raise NotFound(Text("没有这个访问密钥", "there is no such API key"))
        if stored.key.revoked_at is not None:
            return stored.key
        access.revoke(connection, key_id, now)
        _audit(connection, stored, caller, now, access_log.REVOKE)
        return replace(stored.key, revoked_at=now)


def listing(engine: Engine, caller: Caller, after: str = "", limit: int = 50) -> list[ApiKey]:
    """Up to `limit` (1 … 200) keys with ids greater than `after`. Raises Forbidden unless the caller is the operator."""
    rules.may_administer(caller)
    with transaction(engine) as connection:
        return access.listing(connection, after, page_size(limit))


def authenticate(engine: Engine, token: str, now: datetime) -> Caller | None:
    """The caller of this token; None for a malformed token, an unknown key, a wrong secret or a revoked key.

    All four cases do the same work, one query and one comparison in constant time, and cannot be distinguished.
    """
    id_, secret = rules.parse_token(token) or ("", "")
    with transaction(engine) as connection:
        stored = access.get(connection, id_)
        expected = _NO_HASH if stored is None else stored.secret_hash
        matches = hmac.compare_digest(rules.secret_hash(secret), expected)
        if stored is None or not matches or stored.key.revoked_at is not None:
            return None
        if stored.key.should_note_use(now):
            access.note_use(connection, stored.key.id, now)
        return stored.key.caller


def _audit(connection: Connection, stored: access.StoredKey, caller: Caller, now: datetime, action: str) -> None:
    audit.append(
        connection,
        at=now,
        actor=caller.name,
        action=action,
        object_=access_log.object_of(stored.key),
        detail=access_log.audit_detail(*stored),
    )
