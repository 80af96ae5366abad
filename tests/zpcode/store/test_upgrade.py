"""A database of an earlier version, with rows in it, is brought to the newest schema."""
# A test's name is its sentence; a docstring stands where there is more to say.

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError

from tests.support import databases
from zpcode.embedded.servers import Servers
from zpcode.services import audit
from zpcode.store import audit as log
from zpcode.store import scans
from zpcode.store.database.session import connect, migrate, transaction
from zpcode.store.monitoring import integrity


@pytest.fixture
def earlier(servers: Servers, request: pytest.FixtureRequest) -> Iterator[Engine]:
    """An empty database of the revision that a test names: `@pytest.mark.parametrize("earlier", …, indirect=True)`."""
    with databases.administrator(servers.addresses) as connection:
        connection.execute(text("CREATE DATABASE earlier"))
        engine = connect(databases.addresses_of(servers.addresses, "earlier").owner_database, pool_size=2)
        migrate(engine, revision=request.param)
        yield engine
        engine.dispose()
        databases.drop(connection, "earlier")


@pytest.mark.parametrize("earlier", ["0007"], indirect=True)
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


@pytest.mark.parametrize("earlier", ["0010"], indirect=True)
def test_partitions_of_before_are_noted_and_their_scans_kept(earlier: Engine) -> None:
    """The application made them itself then. Afterwards the functions make and drop them, and a lost one is missed."""
    with earlier.begin() as connection:
        for first, last in (("2024-01-01", "2024-02-01"), ("2024-02-01", "2024-03-01")):
            name = f"scan_{first[:7].replace('-', '_')}"
            connection.execute(text(f"CREATE TABLE {name} PARTITION OF scan FOR VALUES FROM ('{first}') TO ('{last}')"))
        connection.execute(text("CREATE TABLE scan_2024_09 (at timestamptz)"))  # a table of somebody's, no partition
        for at, entry, index in (
            ("2024-01-31 23:59Z", "1-0", 1),
            ("2024-02-01 00:00Z", "2-0", 2),
            ("2023-06-01Z", "3-0", None),
        ):
            connection.execute(
                text("INSERT INTO scan (at, entry, gtin, batch, index, verdict) VALUES (:at, :entry, '1', 7, :index, 'verified')"),
                {"at": at, "entry": entry, "index": index},
            )  # fmt: skip
    migrate(earlier)
    with transaction(earlier) as connection:
        noted = integrity.noted_partitions(connection)
        placed = connection.execute(text("SELECT tableoid::regclass::text FROM scan ORDER BY entry")).scalars().all()
        assert noted == {"scan_2024_01": True, "scan_2024_02": True}
        assert placed == ["scan_2024_01", "scan_2024_02", "scan_default"]
        scans.ensure_partition(connection, date(2024, 1, 20))
        assert scans.drop_partition(connection, date(2024, 1, 1)) == 1
        rows = connection.execute(text("SELECT month, scans, of_items FROM scan_partition ORDER BY month")).all()
    assert [tuple(row) for row in rows] == [(date(2024, 1, 1), 1, 1), (date(2024, 2, 1), None, None)]
