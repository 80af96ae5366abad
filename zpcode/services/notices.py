"""The card of public notices, `n:`: derived again with every change of decisions or the registry that may affect it.

Writers have the lock of the audit log, so each writer reads what the one before it has committed.
"""

from __future__ import annotations

import msgspec

from zpcode.rules.cards import notices_card
from zpcode.store import audit, cards, notices, status
from zpcode.store.database.session import Connection, Engine, transaction
from zpcode.wire.card import NoticesCard, notices_key


def derived_card(connection: Connection) -> NoticesCard | None:
    """The card of the present notices; None if there is no notice."""
    published = notices.published(connection)
    if not published:
        return None
    targets = list(dict.fromkeys((change.scope, change.target) for change in published))
    decisions = status.about(connection, targets, enterprises=False)  # an enterprise never ends an office's decision
    return notices_card(published, decisions, notices.names(connection, published))


def encoded_card(connection: Connection) -> dict[str, bytes]:
    """The derived card by its key, as bytes; empty if there is no notice."""
    card = derived_card(connection)
    return {} if card is None else {notices_key(): msgspec.msgpack.encode(card)}


def write(connection: Connection) -> None:
    """Write the card if it differs from the stored one."""
    cards.put_cards(connection, encoded_card(connection))


def begin(engine: Engine) -> bool:
    """Write the card if there are notices but no card; return whether it was written.

    A database older than this card needs this once.
    """
    with transaction(engine) as connection:
        if not notices.are_missing(connection):
            return False
        audit.lock(connection)
        write(connection)
        return True
