"""No row that the application's role adds leaves no number for the rows after it: each number is bounded by the newest."""
# A test's name is its sentence; a docstring stands where there is more to say.

from __future__ import annotations

from datetime import datetime

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from tests.support.databases import as_owner
from zpcode.errors import Unavailable
from zpcode.rules.audit import RECOVERY
from zpcode.rules.continuity import REACH, REACH_NUMBERS, REACH_RECOVERIES, Marks
from zpcode.store import audit, batches, continuity
from zpcode.store.database.session import transaction

NUMBERED = ("status_change", "trace_event", "complaint", "complaint_event")
HIGHEST = 2**53 - 2**32
_ENTRY = (
    "INSERT INTO audit (id, at, actor, action, object, detail, previous, hash)"
    " VALUES (:id, now(), 'x', :action, 'x', '{}', sha256('p'), sha256(int8send(:id)))"
)
_RECOVERY = "INSERT INTO recovery (id, at, actor, audit, taken_in) VALUES (:id, now(), 'x', 1, '{}')"


def refused(engine: Engine, statement: str, words: str, **values: object) -> bool:
    """Whether the database refuses a transaction, with these words; what it permits is rolled back at its end."""
    try:
        with engine.begin() as connection:
            connection.execute(text(statement), values)
            connection.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
            connection.rollback()
    except DBAPIError as error:
        return words in str(error.orig)
    return False


def append(connection: Connection, now: datetime) -> int:
    """Append an entry as the services do."""
    return audit.append(connection, at=now, actor="x", action="batch.reserve", object_="x", detail={})


@pytest.mark.parametrize("table", NUMBERED)
def test_a_numbered_row_gets_its_number_from_the_sequence_alone(engine: Engine, table: str) -> None:
    statement = f"INSERT INTO {table} (id) OVERRIDING SYSTEM VALUE VALUES (5)"  # noqa: S608 - names of this test
    assert refused(engine, statement, "permission denied")


@pytest.mark.parametrize("table", [*NUMBERED, "audit", "recovery"])
def test_no_row_has_a_number_near_the_end_of_exact_integers(engine: Engine, table: str) -> None:
    query = "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = cast(:t AS regclass) AND convalidated"
    with transaction(engine) as connection:
        checks = " ".join(connection.execute(text(query), {"t": table}).scalars())
    assert f"((id >= 1) AND (id <= '{HIGHEST}'::bigint))" in checks


def test_an_entry_of_the_log_follows_the_newest(engine: Engine, now: datetime) -> None:
    with transaction(engine) as connection:
        newest = append(connection, now)
    for wrong in (newest, newest - 1, -5, newest + 2, HIGHEST):
        assert refused(engine, _ENTRY, "does not follow entry", id=wrong, action="batch.reserve")
    assert not refused(engine, _ENTRY, "", id=newest + 1, action="batch.reserve")
    assert not refused(engine, _ENTRY, "", id=newest + REACH_NUMBERS + 1, action=RECOVERY)
    assert refused(engine, _ENTRY, "does not follow entry", id=newest + REACH_NUMBERS + 2, action=RECOVERY)
    with transaction(engine) as connection:
        assert append(connection, now) == newest + 1


def test_many_forged_recoveries_do_not_use_up_the_numbers_of_the_log(engine: Engine, now: datetime) -> None:
    """The clock bounds them, and entries without a gap go on above."""
    with as_owner(engine) as connection:
        connection.execute(text("ALTER TABLE audit DISABLE TRIGGER audit_follows_newest"))
        connection.execute(
            text(_ENTRY.replace(":id", "cast(1000 * extract(epoch FROM now()) AS bigint)")), {"action": RECOVERY}
        )
        connection.execute(text("ALTER TABLE audit ENABLE TRIGGER audit_follows_newest"))
    with transaction(engine) as connection:
        newest = append(connection, now)
    assert refused(engine, _ENTRY, "does not follow entry", id=newest + REACH_NUMBERS, action=RECOVERY)


def test_the_number_of_a_recovery_follows_the_newest(engine: Engine, now: datetime) -> None:
    for wrong in (0, -1, REACH_RECOVERIES + 2, 2**31 - 1, HIGHEST):
        assert refused(engine, _RECOVERY, "does not follow recovery", id=wrong)
    for forged in (REACH_RECOVERIES + 1, REACH_RECOVERIES + 7):
        with transaction(engine) as connection:
            connection.execute(text(_RECOVERY), {"id": forged})
    with transaction(engine) as connection:
        taken_in = {"redis": Marks(recoveries=REACH_RECOVERIES)}
        number = continuity.add_recovery(connection, at=now, actor="x", audit_id=1, taken_in=taken_in)
        assert number == REACH_RECOVERIES + 8


def test_recoveries_are_counted_as_they_are_recorded(engine: Engine) -> None:
    for wrong in (-1, 5, 2**31 - 1, 2**53):
        assert refused(engine, "UPDATE continuity SET recoveries = :n", "there is no recovery", n=wrong)
    with transaction(engine) as connection:
        connection.execute(text(_RECOVERY), {"id": 2})
        connection.execute(text("UPDATE continuity SET recoveries = 2"))
    assert refused(engine, "UPDATE continuity SET recoveries = 1", "there is no recovery")


def test_the_revision_of_the_cards_goes_forward_in_bounds(engine: Engine) -> None:
    with transaction(engine) as connection:
        connection.execute(text("UPDATE card_head SET revision = revision + 7"))
    for change in ("-1", f"+ {REACH + 1}", f"+ {2**53}"):
        assert refused(engine, f"UPDATE card_head SET revision = revision {change}", "does not follow revision")  # noqa: S608
    assert not refused(engine, f"UPDATE card_head SET revision = revision + {REACH}", "")  # noqa: S608
    many = f"DO $$BEGIN FOR n IN 1..{2**53 // REACH} LOOP UPDATE card_head SET revision = revision + {REACH}; END LOOP; END$$"  # noqa: S608
    assert refused(engine, many, "does not follow revision")


@pytest.mark.parametrize("number", [0, -1, 2, 67_108_863, 2**53])
def test_a_batch_that_was_lost_has_a_number_that_was_drawn(engine: Engine, number: int) -> None:
    with transaction(engine) as connection:
        assert batches.next_number(connection) == 1
    statement = "INSERT INTO lost_batch (number, recovery) VALUES (:number, 1)"
    assert refused(engine, statement, "was not drawn", number=number)
    assert not refused(engine, statement, "", number=1)


def test_a_number_that_a_lost_batch_has_is_not_given_again(engine: Engine) -> None:
    """Whatever moved the sequence back: the next number is one that nobody has."""
    with transaction(engine) as connection:
        drawn = [batches.next_number(connection) for _ in range(40)]
        connection.execute(text("INSERT INTO lost_batch (number, recovery) SELECT n, 1 FROM generate_series(3, 40) n"))
    with as_owner(engine) as connection:
        connection.execute(text("SELECT setval('batch_number', 2)"))
    with transaction(engine) as connection:
        assert batches.next_number(connection) == drawn[-1] + 1


def test_a_sequence_that_is_far_behind_gives_no_number_and_says_why(engine: Engine) -> None:
    with transaction(engine) as connection:
        connection.execute(text("SELECT count(nextval('batch_number')) FROM generate_series(1, 2000)"))
        connection.execute(
            text("INSERT INTO lost_batch (number, recovery) SELECT n, 1 FROM generate_series(1, 2000) n")
        )
    with as_owner(engine) as connection:
        connection.execute(text("SELECT setval('batch_number', 1)"))
    with pytest.raises(Unavailable, match="batch_number was set back"), transaction(engine) as connection:
        batches.next_number(connection)
