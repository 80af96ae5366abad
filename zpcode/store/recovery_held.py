"""What a recovery took from Redis alone: it waits here until a person confirms or rejects it (docs/recovery.md)."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from zpcode.store.tables.codes import batch
from zpcode.store.tables.continuity import held_activation, held_decision, recovery
from zpcode.wire.vocabulary import Scope


class HeldKind(enum.StrEnum):
    """Whether Redis showed a graver or a milder state than the decisions of the database."""

    GRAVER = "graver"
    MILDER = "milder"


class HeldDecision(NamedTuple):
    """What Redis showed of one target or range: `timeline`, encoded. At most what a decision may have is in it.

    `graver`: its state is in force, without texts and names. `milder`: nothing of it is in force. `first` and `last` are the ends of
    a range, both 0 at other scopes. `at` is the time of the recovery.
    """

    kind: HeldKind
    scope: Scope
    target: str
    first: int
    last: int
    timeline: bytes
    at: datetime

    @property
    def span(self) -> tuple[int, int] | None:
        """The range; None at other scopes."""
        return (self.first, self.last) if self.scope is Scope.RANGE else None


class HeldActivation(NamedTuple):
    """A batch that Redis showed as activated since `activated_at`, and that the database has not as activated."""

    number: int
    activated_at: datetime


def hold_decisions(connection: Connection, decisions: Iterable[HeldDecision], number: int) -> None:
    """Record what Redis showed of decisions. `number` is that of the recovery."""
    for one in decisions:
        values = {name: value for name, value in one._asdict().items() if name != "at"}
        connection.execute(insert(held_decision).values(**values, recovery=number))


def held_decisions(connection: Connection) -> list[HeldDecision]:
    """What waits for a person, in the order of targets, ranges and recoveries."""
    columns = held_decision.c
    query = select(held_decision, recovery.c.at).join(recovery, recovery.c.id == columns.recovery)
    query = query.where(columns.confirmed_at.is_(None), columns.rejected_at.is_(None))
    order = (columns.scope, columns.target, columns.first, columns.last, columns.recovery, columns.kind)
    return [
        HeldDecision(HeldKind(row.kind), Scope(row.scope), row.target, row.first, row.last, bytes(row.timeline), row.at)
        for row in connection.execute(query.order_by(*order))
    ]


def settle_decisions(connection: Connection, scope: Scope, target: str, now: datetime, *, confirmed: bool) -> None:
    """Record that a person confirmed, or rejected, what Redis showed of a target."""
    where = (held_decision.c.scope == scope.value) & (held_decision.c.target == target)
    where &= held_decision.c.confirmed_at.is_(None) & held_decision.c.rejected_at.is_(None)
    settled = {"confirmed_at" if confirmed else "rejected_at": now}
    connection.execute(update(held_decision).where(where).values(**settled))


def hold_activations(connection: Connection, activations: Iterable[HeldActivation], number: int) -> None:
    """Record what Redis showed of activations; a later recovery replaces what an earlier one recorded."""
    for one in activations:
        values = {"recovery": number, "activated_at": one.activated_at}
        statement = upsert(held_activation).values(number=one.number, **values)
        connection.execute(statement.on_conflict_do_update(index_elements=[held_activation.c.number], set_=values))


def held_activations(connection: Connection) -> list[HeldActivation]:
    """The activations that wait for a person, by batch number; not those of batches that are active by now."""
    query = select(held_activation.c.number, held_activation.c.activated_at)
    query = query.join(batch, batch.c.number == held_activation.c.number).where(batch.c.activated_at.is_(None))
    return [HeldActivation(row.number, row.activated_at) for row in connection.execute(query.order_by(batch.c.number))]


def stored_activations(connection: Connection) -> list[HeldActivation]:
    """All stored activations, by batch number, also those of batches that are active by now."""
    query = select(held_activation.c.number, held_activation.c.activated_at).order_by(held_activation.c.number)
    return [HeldActivation(row.number, row.activated_at) for row in connection.execute(query)]


def settle_activation(connection: Connection, number: int) -> None:
    """Record that nothing about the activation of a batch waits any more."""
    connection.execute(delete(held_activation).where(held_activation.c.number == number))
