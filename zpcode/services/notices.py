"""The card of public notices, `n:`, derived anew whenever a decision or the registry may have changed it.

Its writer holds the audit log's lock: of two writers the later one reads what the earlier one has committed.
"""

from __future__ import annotations

import msgspec

from zpcode.rules.cards import notices_card
from zpcode.store import audit, cards, notices, status
from zpcode.store.database.session import Connection, Engine, transaction
from zpcode.wire.card import NoticesCard, notices_key


def derived_card(connection: Connection) -> NoticesCard | None:
    """The card from the notices, all decisions about their targets, and the registry; None without any notice."""
    published = notices.published(connection)
    if not published:
        return None
    made = status.about(connection, list(dict.fromkeys((change.scope, change.target) for change in published)))
    return notices_card(published, made, notices.names(connection, published))


def encoded_card(connection: Connection) -> dict[str, bytes]:
    """The derived card under its key, as bytes; empty without any notice."""
    card = derived_card(connection)
    return {} if card is None else {notices_key(): msgspec.msgpack.encode(card)}


def write(connection: Connection) -> None:
    """Write the card where it differs from the stored one."""
    cards.put_cards(connection, encoded_card(connection))


def begin(engine: Engine) -> bool:
    """Write the first card where a database has notices but no card of them; return whether it was written.

    Databases from before there was such a card need this once.
    """
    with transaction(engine) as connection:
        if not notices.are_missing(connection):
            return False
        audit.lock(connection)
        write(connection)
        return True
