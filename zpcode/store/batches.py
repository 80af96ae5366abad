"""Batches of codes: their rows, their numbers, and the idempotency keys of the requests that made them."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, Row, Select, func, insert, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import DBAPIError, OperationalError

from zpcode.errors import Text, Unavailable
from zpcode.rules.access import Caller
from zpcode.rules.batches.batch import Activation, Batch, BatchState
from zpcode.store import continuity, locks
from zpcode.store.locks import Lock
from zpcode.store.reach import within
from zpcode.store.tables.codes import batch, idempotency
from zpcode.store.tables.registry import enterprise
from zpcode.wire.payload import Level

_ITEM_LEVELS = (Level.ITEM.value, Level.COMPACT.value)
_AWAITS_FILE = batch.c.file_requested_at >= batch.c.file_removed_at
_DRAWS = 1000
"""So many numbers are drawn for one batch, if others have them, before a person has to look."""
_WAITING = (batch.c.state == BatchState.RESERVED.value) | _AWAITS_FILE


@dataclass(frozen=True, slots=True)
class IdempotencyRecord:
    """An earlier request with the same idempotency key: its digest and the number of its batch."""

    digest: bytes
    batch: int


def claim(connection: Connection, owner: str, key: str, digest: bytes, now: datetime) -> IdempotencyRecord | None:
    """Insert an idempotency key. Return None if it is new, else the earlier request with this key.

    If another transaction is inserting the same key, this waits until that transaction ends.
    """
    statement = upsert(idempotency).values(caller=owner, key=key, request_hash=digest, created_at=now)
    inserted = connection.execute(statement.on_conflict_do_nothing().returning(idempotency.c.key)).one_or_none()
    if inserted is not None:
        return None
    where = (idempotency.c.caller == owner) & (idempotency.c.key == key)
    row = connection.execute(select(idempotency).where(where)).one()
    return IdempotencyRecord(bytes(row.request_hash), row.batch)


def bind(connection: Connection, owner: str, key: str, number: int) -> None:
    """Store the batch that the request with this idempotency key made."""
    where = (idempotency.c.caller == owner) & (idempotency.c.key == key)
    connection.execute(update(idempotency).where(where).values(batch=number))


def quota(connection: Connection, uscc: str) -> tuple[str, int | None, int]:
    """An enterprise's region, its quota (None: no limit) and the number of item codes in its batches.

    The row stays locked until the transaction ends, so that two requests cannot both use the rest of the quota.
    """
    columns = select(enterprise.c.region, enterprise.c.code_quota).where(enterprise.c.uscc == uscc)
    row = connection.execute(columns.with_for_update(key_share=True)).one()
    used = select(func.coalesce(func.sum(batch.c.quantity), 0)).where(
        batch.c.uscc == uscc, batch.c.level.in_(_ITEM_LEVELS)
    )
    return row.region, row.code_quota, int(connection.execute(used).scalar_one())


def next_number(connection: Connection) -> int:
    """A new batch number. A number whose transaction is rolled back is not used again.

    Numbers that a batch or a lost batch has are passed over: a sequence that went back draws them again. Raises DatabaseBehind
    instead of giving a number again, and Unavailable if no witness of earlier numbers answers or the sequence is far behind.
    """
    continuity.require(connection, number=True)
    for _ in range(_DRAWS):
        number = int(connection.execute(text("SELECT nextval('batch_number')")).scalar_one())
        if not continuity.batches_with_record(connection, [number]):
            return number
    raise Unavailable(
        Text(
            f"序列 batch_number 被改小了：取得的 {_DRAWS} 个批次序号都已使用，最后一个是 {number}；请平台运营方执行 zpcode fsck --only batch-numbers",
            f"the sequence batch_number was set back: the {_DRAWS} batch numbers drawn are all in use, the last is {number}; the"
            " operator should run zpcode fsck --only batch-numbers",
        )
    )


def add(connection: Connection, new: Batch) -> None:
    """Insert a reserved batch."""
    connection.execute(
        insert(batch).values(
            number=new.number,
            uscc=new.uscc,
            gtin=new.gtin,
            level=new.level.value,
            quantity=new.quantity,
            lot=new.lot,
            production_date=new.production_date,
            expiry_date=new.expiry_date,
            format=new.format,
            base=new.base,
            permutation_key=new.permutation_key,
            check_key=new.check_key,
            activation=new.activation.value,
            created_by=new.created_by,
            created_at=new.created_at,
        )
    )


def get(connection: Connection, number: int, *, lock: bool = False) -> Batch | None:
    """The batch with this number, or None. With `lock` the row stays locked until the transaction ends."""
    query = _select().where(batch.c.number == number)
    row = connection.execute(query.with_for_update(of=batch, key_share=True) if lock else query).one_or_none()
    return None if row is None else _batch(row)


def any_batch(connection: Connection) -> bool:
    """Whether there is any batch."""
    return connection.execute(select(batch.c.number).limit(1)).one_or_none() is not None


def numbered(connection: Connection, numbers: Collection[int], *, lock: bool = False) -> list[Batch]:
    """The existing batches among these numbers, in order. With `lock` the rows are locked as in `get`, in the same order."""
    query = _select().where(batch.c.number.in_(numbers)).order_by(batch.c.number)
    rows = connection.execute(query.with_for_update(of=batch, key_share=True) if lock else query)
    return [_batch(row) for row in rows]


def listing(connection: Connection, caller: Caller, before: int | None, limit: int) -> list[Batch]:
    """Up to `limit` batches within a caller's reach, newest first; only those with numbers below `before` if it is given."""
    query = (
        _select().where(within(caller, batch.c.uscc, enterprise.c.region)).order_by(batch.c.number.desc()).limit(limit)
    )
    if before is not None:
        query = query.where(batch.c.number < before)
    return [_batch(row) for row in connection.execute(query)]


def change(connection: Connection, number: int, **values: Any) -> None:
    """Update columns of one batch."""
    connection.execute(update(batch).where(batch.c.number == number).values(**values))


def note_problem(connection: Connection, number: int, problem: Text | None) -> None:
    """Store why the file of a batch cannot be written; None clears the reason."""
    problem_json = "" if problem is None else json.dumps({"zh": problem.zh, "en": problem.en}, ensure_ascii=False)
    where = (batch.c.number == number) & _WAITING & (batch.c.problem != problem_json)
    connection.execute(update(batch).where(where).values(problem=problem_json))


def waiting(connection: Connection, limit: int) -> list[int]:
    """The numbers of up to `limit` batches whose file is to be written and that no process is writing.

    Reserved batches come first, then those whose removed file was requested, each oldest first.
    """
    busy = locks.objects_in_use(connection, Lock.ISSUING)
    query = select(batch.c.number).where(_WAITING).order_by(batch.c.state.desc(), batch.c.created_at)
    rows = connection.execute(query.limit(limit + len(busy)))
    return [row.number for row in rows if row.number not in busy][:limit]


def awaiting_file(connection: Connection, uscc: str) -> int:
    """How many removed files of an enterprise are to be written again.

    The enterprise's row stays locked until the transaction ends, so that two requests cannot both be the last allowed one.
    """
    connection.execute(select(enterprise.c.uscc).where(enterprise.c.uscc == uscc).with_for_update(key_share=True))
    query = select(func.count()).select_from(batch).where(batch.c.uscc == uscc, _AWAITS_FILE)
    return int(connection.execute(query).scalar_one())


def files_kept_since(
    connection: Connection, before: datetime, after: int, except_keys: Collection[str], limit: int
) -> list[Batch]:
    """Up to `limit` batches with numbers above `after`, in order, whose file was written or requested before `before`.

    Without those under one of `except_keys` whose signatures are not kept, and without removed files.
    """
    query = _select().where(
        batch.c.state == BatchState.ISSUED.value,
        batch.c.file_removed_at.is_(None),
        func.coalesce(batch.c.file_requested_at, batch.c.issued_at) < before,
        batch.c.number > after,
        batch.c.key_id.not_in(except_keys) | (batch.c.signatures_sha256 != ""),
    )
    return [_batch(row) for row in connection.execute(query.order_by(batch.c.number).limit(limit))]


def keys_of_removed_files(connection: Connection) -> list[str]:
    """The signing keys of batches whose file is removed and whose signatures are not kept."""
    where = batch.c.file_removed_at.is_not(None) & (batch.c.signatures_sha256 == "") & (batch.c.key_id != "")
    return list(connection.execute(select(batch.c.key_id).where(where).distinct()).scalars())


def signed_with(connection: Connection, key_id: str, after: int, limit: int) -> list[Batch]:
    """Up to `limit` batches of a signing key with numbers above `after`, in order, issued or not."""
    query = _select().where(batch.c.key_id == key_id, batch.c.number > after).order_by(batch.c.number).limit(limit)
    return [_batch(row) for row in connection.execute(query)]


@contextmanager
def issuing(engine: Engine, number: int) -> Iterator[bool]:
    """Take the lock for issuing a batch; yield False if another process has it.

    The lock belongs to a separate connection, so it is released when the process ends for any reason. Raises
    Unavailable if PostgreSQL cannot be reached.
    """
    with _separate_connection(engine) as connection:
        acquired = locks.try_session(connection, Lock.ISSUING, number)
        try:
            yield acquired
        finally:
            with suppress(DBAPIError):  # a lost connection has released the lock already
                locks.release_session(connection, Lock.ISSUING, number)


@contextmanager
def _separate_connection(engine: Engine) -> Iterator[Connection]:
    try:
        connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    except OperationalError as error:
        raise Unavailable(
            Text("数据库暂时无法访问，请稍后再试", "the database cannot be reached just now; try again shortly")
        ) from error
    connection.detach()  # so that it is closed at the end and not returned to the pool
    with connection:
        yield connection


class LotRow(NamedTuple):
    """A lot with lot codes: its dates, and when the first of its batches became active."""

    gtin: str
    lot: str
    production_date: date | None
    expiry_date: date | None
    activated_at: datetime | None


def lots(connection: Connection, lot_keys: Sequence[tuple[str, str]]) -> list[LotRow]:
    """These lots (GTIN, lot), as derived from their batches."""
    columns = batch.c
    query = (
        select(
            columns.gtin,
            columns.lot,
            func.max(columns.production_date),
            func.max(columns.expiry_date),
            func.min(columns.activated_at),
        )
        .where(columns.level == "lot", tuple_(columns.gtin, columns.lot).in_(lot_keys))
        .group_by(columns.gtin, columns.lot)
    )
    return [LotRow(*row) for row in connection.execute(query)]


def numbers_of_lot(connection: Connection, gtin: str, lot: str) -> list[int]:
    """The numbers of the batches with lot codes of this lot, in order."""
    where = (batch.c.level == Level.LOT.value) & (batch.c.gtin == gtin) & (batch.c.lot == lot)
    return list(connection.execute(select(batch.c.number).where(where).order_by(batch.c.number)).scalars())


def _select() -> Select[Any]:
    return select(batch, enterprise.c.region).join(enterprise, enterprise.c.uscc == batch.c.uscc)


def _batch(row: Row[Any]) -> Batch:
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's documented access by column name
    problem = json.loads(values["problem"]) if values["problem"] else None
    values |= {
        "level": Level(values["level"]),
        "activation": Activation(values["activation"]),
        "state": BatchState(values["state"]),
        "permutation_key": bytes(values["permutation_key"]),
        "check_key": bytes(values["check_key"]),
        "problem": None if problem is None else Text(problem["zh"], problem["en"]),
    }
    return Batch(**values)
