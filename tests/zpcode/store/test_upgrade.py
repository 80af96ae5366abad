"""A database of an earlier version, with rows in it, is brought to the newest schema."""
# A test's name is its sentence; a docstring stands where there is more to say.

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError

from tests.support import databases
from zpcode.embedded.servers import Servers
from zpcode.services import audit
from zpcode.store import audit as log
from zpcode.store.database.session import connect, migrate, transaction


@pytest.fixture
def earlier(servers: Servers) -> Iterator[Engine]:
    """An empty database of before the mandatory labels."""
    with databases.administrator(servers.addresses) as connection:
        connection.execute(text("CREATE DATABASE earlier"))
        engine = connect(databases.addresses_of(servers.addresses, "earlier").owner_database, pool_size=2)
        migrate(engine, revision="0007")
        yield engine
        engine.dispose()
        databases.drop(connection, "earlier")


def test_keys_of_before_are_labelled_recorded_and_from_then_on_compared(earlier: Engine, now: datetime) -> None:
    with transaction(earlier) as connection:
        for id_, label in (("ABCDEFGHJKMN", ""), ("BBCDEFGHJKMN", "MES")):
            connection.execute(
                text(
                    "INSERT INTO api_key (id, secret_hash, role, subject, label, created_at)"
                    " VALUES (:id, sha256('x'), 'operator', '*', :label, :at)"
                ),
                {"id": id_, "label": label, "at": now},
            )
            log.append(
                connection,
                at=now,
                actor="operator:*:cli",
                action="access.create",
                object_=f"api-key:{id_}",
                detail={"role": "operator", "subject": "*", "label": label},
            )
    migrate(earlier)
    verified = audit.verify(earlier)
    assert verified.whole
    assert verified.chain.count == 4
    with transaction(earlier) as connection:
        labels = connection.execute(text("SELECT label FROM api_key ORDER BY id")).scalars().all()
    assert labels == ["unnamed ABCDEFGHJKMN", "MES"]
    with pytest.raises(IntegrityError, match="api_key_label"), earlier.begin() as connection:
        connection.execute(text("UPDATE api_key SET label = ' '"))
    with transaction(earlier) as connection:
        connection.execute(text("UPDATE api_key SET secret_hash = sha256('y') WHERE label = 'MES'"))
    assert [(one.key_id, one.kind) for one in audit.verify(earlier).keys] == [("BBCDEFGHJKMN", "altered")]
