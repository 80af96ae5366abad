"""The content of the card of public notices: the newest notices, and the names of their targets."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import msgspec
from sqlalchemy import Column, Connection, Table, exists, select

from zpcode.rules.notices import SHARES, Names, number_of, selected
from zpcode.rules.status.permissions import StatusChange
from zpcode.store import status
from zpcode.store.tables.codes import batch, card, status_change
from zpcode.store.tables.registry import certificate, enterprise, product, recognition, standard
from zpcode.wire.card import MAX_NOTICES, notices_key
from zpcode.wire.vocabulary import Bilingual, Scope


def published(connection: Connection) -> list[StatusChange]:
    """The notices of the card, newest first (`zpcode.rules.notices.selected`)."""
    newest = select(status_change).where(status.NOTICE).order_by(status_change.c.id.desc()).limit(MAX_NOTICES)
    candidates = {
        change.id: change
        for actors in SHARES
        for change in status.changes(connection, newest.where(status.made_by(actors)))
    }
    return selected(candidates.values())


def are_missing(connection: Connection) -> bool:
    """Whether there are notices but no card of them: the database is older than this card."""
    notice_exists = exists().where(status.NOTICE)
    card_exists = exists().where(card.c.key == notices_key())
    return bool(connection.execute(select(notice_exists & ~card_exists)).scalar())


def names(connection: Connection, decisions: Sequence[StatusChange]) -> Names:
    """The names in the registry of the targets of these decisions."""
    targets: dict[Scope, set[str]] = {scope: {one.target for one in decisions if one.scope is scope} for scope in Scope}
    numbers = {int(number) for number in map(number_of, decisions) if number}
    batches = {str(row.number): (row.gtin, row.lot) for row in _rows(connection, batch, batch.c.number, numbers)}
    rows = _rows(connection, recognition, recognition.c.number, targets[Scope.RECOGNITION])
    recognitions = {row.number: row.gtin for row in rows}
    rows = _rows(connection, certificate, certificate.c.number, targets[Scope.CERTIFICATE])
    certificates = {row.number: row.uscc for row in rows}
    gtins = {*targets[Scope.PRODUCT], *recognitions.values(), *(gtin for gtin, _ in batches.values())}
    gtins |= {target.partition(":")[0] for target in targets[Scope.LOT]}
    usccs = {*targets[Scope.ENTERPRISE], *certificates.values()}
    products = {row.gtin: _text(row.name) for row in _rows(connection, product, product.c.gtin, gtins)}
    enterprises = {row.uscc: _text(row.name) for row in _rows(connection, enterprise, enterprise.c.uscc, usccs)}
    rows = _rows(connection, standard, standard.c.number, targets[Scope.STANDARD])
    standards = {row.number: _text(row.title) for row in rows}
    return Names(products, enterprises, standards, batches, recognitions, certificates)


def _rows(connection: Connection, table: Table, key: Column[Any], keys: Collection[Any]) -> Sequence[Any]:
    return connection.execute(select(table).where(key.in_(keys))).all() if keys else ()


def _text(value: Any) -> Bilingual:
    return msgspec.convert(value, Bilingual)
