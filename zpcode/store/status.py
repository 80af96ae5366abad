"""Decisions in the table `status_change`, which is append-only: triggers refuse UPDATE, DELETE and TRUNCATE.

Also here: the enterprise that owns a target, which determines who may decide about it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, Select, exists, false, func, insert, or_, select, tuple_

from zpcode.rules.access import Caller, Role
from zpcode.rules.status.decisions import Action, Actor
from zpcode.rules.status.permissions import UNCONFIRMED, StatusChange, actor_of
from zpcode.store import locks
from zpcode.store.locks import Lock
from zpcode.store.reach import owner_within
from zpcode.store.tables.codes import batch, status_change
from zpcode.store.tables.registry import certificate, enterprise, product, recognition, standard
from zpcode.wire.vocabulary import Bilingual, Scope, State

PUBLISHED: Final = (status_change.c.notice != "") & ~func.starts_with(status_change.c.decided_by, f"{Role.ENTERPRISE}:")
"""The condition that anybody may read a decision: it has a notice number, and no enterprise made it."""

NOTICE: Final = PUBLISHED & (status_change.c.action != Action.RESTORE.value)
"""The condition that a decision is a public notice: it is published, and not a restoration."""

_NAMES: Final = {
    Actor.ENTERPRISE: f"^{Role.ENTERPRISE}:",
    Actor.COUNTY: f"^{Role.REGULATOR}:[0-9]{{4}}([1-9][0-9]|0[1-9]):",
    Actor.CITY: f"^{Role.REGULATOR}:[0-9]{{2}}([1-9][0-9]|0[1-9])00:",
    Actor.PROVINCE: f"^{Role.REGULATOR}:[0-9]{{2}}0000:",
    Actor.OPERATOR: f"^{Role.OPERATOR}:[^:]*:(?!{UNCONFIRMED}$)",
    Actor.RECOVERY: f"^{Role.OPERATOR}:[^:]*:{UNCONFIRMED}$",
}
"""`decided_by` by kind of caller: `actor_of` as regular expressions, because PostgreSQL selects by them."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The enterprise that a target belongs to."""

    uscc: str
    region: str
    name: Bilingual


def lock(connection: Connection, scope: Scope, target: str) -> None:
    """Take the lock for decisions about a target until the transaction ends."""
    locks.hold_text(connection, Lock.TARGET, f"{scope}:{target}")


def owner(connection: Connection, scope: Scope, target: str) -> Owner | None:
    """The enterprise of a lot, product, recognition or certificate, or the enterprise itself; None if it does not exist.

    A lot exists once a batch of codes names it.
    """
    row = connection.execute(_owner_query(scope, target).limit(1)).one_or_none()
    return None if row is None else Owner(row.uscc, row.region, msgspec.convert(row.name, Bilingual))


def _owner_query(scope: Scope, target: str) -> Select[Any]:
    query = select(enterprise.c.uscc, enterprise.c.region, enterprise.c.name)
    if scope is Scope.ENTERPRISE:
        return query.where(enterprise.c.uscc == target)
    if scope is Scope.CERTIFICATE:
        return query.join(certificate, certificate.c.uscc == enterprise.c.uscc).where(certificate.c.number == target)
    query = query.join(product, product.c.uscc == enterprise.c.uscc)
    if scope is Scope.RECOGNITION:
        return query.join(recognition, recognition.c.gtin == product.c.gtin).where(recognition.c.number == target)
    if scope is Scope.LOT:
        gtin, _, lot = target.partition(":")
        named = exists().where(batch.c.gtin == gtin, batch.c.lot == lot)
        return query.where(product.c.gtin == gtin, named)
    return query.where(product.c.gtin == target)


def target_exists(connection: Connection, scope: Scope, target: str) -> bool:
    """Whether a standard is registered, or a batch is signed with a key."""
    column = standard.c.number if scope is Scope.STANDARD else batch.c.key_id
    return bool(connection.execute(select(exists().where(column == target))).scalar())


def made_by(actors: Collection[Actor]) -> ColumnElement[bool]:
    """The condition that one of these kinds of caller made a decision."""
    return or_(false(), *(status_change.c.decided_by.regexp_match(_NAMES[actor]) for actor in actors))


def add(connection: Connection, change: StatusChange, decided_by: str) -> StatusChange:
    """Insert a decision and return it with its number. The caller has the lock of the audit log, so numbers are in commit order."""
    number = connection.execute(
        insert(status_change)
        .values(
            scope=change.scope.value,
            target=change.target,
            first=change.first,
            last=change.last,
            action=change.action.value,
            reason=change.reason,
            legal_basis=change.legal_basis,
            note=msgspec.to_builtins(change.note),
            notice=change.notice,
            effective_at=change.effective_at,
            state=change.state.value,
            lifts=None if change.lifts is None else change.lifts.value,
            uscc=change.uscc,
            decided_by=decided_by,
            authority=msgspec.to_builtins(change.authority),
            created_at=change.created_at,
        )
        .returning(status_change.c.id)
    ).scalar_one()
    return replace(change, id=int(number))


def history(connection: Connection, scope: Scope, target: str) -> list[StatusChange]:
    """All decisions about a target, in the order in which they were made."""
    where = (status_change.c.scope == scope.value) & (status_change.c.target == target)
    return changes(connection, select(status_change).where(where).order_by(status_change.c.id))


def every(connection: Connection) -> Iterator[StatusChange]:
    """All decisions in the order in which they were made, read 500 at a time."""
    query = select(status_change).order_by(status_change.c.id).execution_options(yield_per=500)
    for row in connection.execute(query):
        yield _change(row)


def about(
    connection: Connection, targets: Sequence[tuple[Scope, str]], *, enterprises: bool = True
) -> list[StatusChange]:
    """All decisions about these targets, in the order in which they were made; without those of enterprises if asked so."""
    pairs = [(scope.value, target) for scope, target in targets]
    query = select(status_change).where(tuple_(status_change.c.scope, status_change.c.target).in_(pairs))
    if not enterprises:
        query = query.where(~func.starts_with(status_change.c.decided_by, f"{Role.ENTERPRISE}:"))
    return changes(connection, query.order_by(status_change.c.id))


def batches_with_items(connection: Connection) -> set[int]:
    """The numbers of the batches with decisions about single items."""
    number = func.split_part(status_change.c.target, ":", 1)
    rows = connection.execute(select(number).where(status_change.c.scope == Scope.CODE.value).distinct())
    return {int(batch_number) for batch_number in rows.scalars()}


def feed(connection: Connection, caller: Caller, after: int, limit: int) -> list[StatusChange]:
    """Up to `limit` decisions numbered above `after`: those within a caller's reach, and those about standards and keys."""
    return changes(connection, _page(after, limit).where(owner_within(caller, status_change.c.uscc)))


def notices(connection: Connection, after: int, limit: int) -> list[StatusChange]:
    """Up to `limit` published decisions numbered above `after`, restorations too, in the order of their numbers."""
    return changes(connection, _page(after, limit).where(PUBLISHED))


def _page(after: int, limit: int) -> Select[Any]:
    return select(status_change).where(status_change.c.id > after).order_by(status_change.c.id).limit(limit)


def changes(connection: Connection, query: Select[Any]) -> list[StatusChange]:
    """The decisions that a query of whole rows returns, in its order."""
    return [_change(row) for row in connection.execute(query)]


def _change(row: Row[Any]) -> StatusChange:
    return StatusChange(
        id=row.id,
        scope=Scope(row.scope),
        target=row.target,
        first=row.first,
        last=row.last,
        action=Action(row.action),
        reason=row.reason,
        state=State(row.state),
        lifts=None if row.lifts is None else Actor(row.lifts),
        legal_basis=row.legal_basis,
        note=msgspec.convert(row.note, Bilingual),
        notice=row.notice,
        effective_at=row.effective_at,
        actor=_actor(row.decided_by),
        authority=msgspec.convert(row.authority, Bilingual),
        uscc=row.uscc,
        created_at=row.created_at,
    )


def _actor(decided_by: str) -> Actor:
    role, subject, credential = decided_by.split(":", 2)
    return actor_of(Caller(Role(role), subject, credential))
