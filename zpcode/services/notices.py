"""The card of public notices, `n:`, told anew from the decisions and the registry whenever either may have changed it.

Whoever writes it has the audit log's lock: so of two that change it the later one knows both.
"""

from __future__ import annotations

import msgspec

from zpcode.rules import cards as cards_
from zpcode.store import audit, notices, status
from zpcode.store import cards as outbox
from zpcode.store.database.session import Connection, Engine, transaction
from zpcode.wire.card import NoticesCard, notices_key


def card(connection: Connection) -> NoticesCard | None:
    """The card as it follows from everything else; None while there has never been a notice."""
    published = notices.published(connection)
    if not published:
        return None
    made = status.about(connection, list(dict.fromkeys((one.scope, one.target) for one in published)))
    return cards_.notices_card(published, made, notices.names(connection, published))


def cards(connection: Connection) -> dict[str, bytes]:
    """The same under its key, as bytes; empty where there is none."""
    found = card(connection)
    return {} if found is None else {notices_key(): msgspec.msgpack.encode(found)}


def write(connection: Connection) -> None:
    """Write the card where it differs from the stored one."""
    outbox.put_cards(connection, cards(connection))


def begin(engine: Engine) -> bool:
    """Write the first card of a database that has notices from before there was one; whether it did."""
    with transaction(engine) as connection:
        if not notices.are_missing(connection):
            return False
        audit.lock(connection)
        write(connection)
        return True
