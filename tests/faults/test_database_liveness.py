"""The authority waits for PostgreSQL as long as the server is alive, and no longer."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine, text

from tests.faults.proxy import Proxy
from zpcode.embedded.servers import ServerAddresses, Servers
from zpcode.errors import Unavailable
from zpcode.store.database import liveness
from zpcode.store.database.liveness import DatabaseLiveness
from zpcode.store.database.session import connect, session_class, transaction


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Probe the server after 0.1 s of silence instead of 1 s."""
    monkeypatch.setattr(liveness, "PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(liveness, "AGAIN_SECONDS", 0.0)


@pytest.fixture
def line(servers: Servers) -> Iterator[Proxy]:
    """A line to PostgreSQL that can be frozen."""
    folder = servers.sockets / "line"
    folder.mkdir()
    with Proxy(servers.postgres_sockets / ".s.PGSQL.5432", folder / ".s.PGSQL.5432") as proxy:
        yield proxy
    proxy.path.unlink()
    folder.rmdir()


@pytest.fixture
def distant(addresses: ServerAddresses, line: Proxy, impatient: None) -> Iterator[Engine]:
    """An engine that connects through the line, with a table to write to."""
    del impatient
    engine = connect(at(addresses, line.path), pool_size=2)
    owner = connect(addresses.owner_database, pool_size=1)
    with transaction(owner) as connection:
        connection.execute(text("CREATE TABLE note (what text)"))
        connection.execute(text("GRANT ALL ON note TO zpcode"))
    owner.dispose()
    yield engine
    engine.dispose()


def at(addresses: ServerAddresses, path: Path) -> str:
    """The address of the authority's database through another socket."""
    return f"{addresses.database.rpartition('=')[0]}={path.parent}"


def write(engine: Engine) -> None:
    with transaction(engine) as connection:
        connection.execute(text("INSERT INTO note VALUES ('written')"))


def test_a_slow_statement_of_a_server_that_lives_is_waited_for(distant: Engine) -> None:
    """A statement takes ten times the silence bound: the server is probed meanwhile, and answers."""
    with transaction(distant) as connection:
        assert connection.execute(text("SELECT 'there' FROM pg_sleep(1)")).scalar_one() == "there"


def test_a_frozen_line_is_given_up_by_all_who_wait_and_found_again(distant: Engine, line: Proxy) -> None:
    line.freeze()
    with ThreadPoolExecutor(12) as waiting:
        errors = [one.exception() for one in [waiting.submit(write, distant) for _ in range(12)]]
    assert {type(error) for error in errors} == {Unavailable}
    line.thaw()
    write(distant)
    with transaction(distant) as connection:
        assert connection.execute(text("SELECT count(*) FROM note")).scalar_one() == 1


def test_where_the_commit_was_lost_sight_of_the_error_says_that_nobody_knows(distant: Engine, line: Proxy) -> None:
    def write_and_lose_sight() -> None:
        with transaction(distant) as connection:
            connection.execute(text("INSERT INTO note VALUES ('perhaps')"))
            line.freeze()

    with pytest.raises(Unavailable, match="not known"):
        write_and_lose_sight()
    with pytest.raises(Unavailable, match="cannot be reached"):
        write(distant)
    line.thaw()
    write(distant)


def test_once_gone_nobody_waits_and_one_at_a_time_asks() -> None:
    asked: list[int] = []

    def probe() -> None:
        asked.append(len(asked))
        if len(asked) < 3:
            raise psycopg.errors.ConnectionTimeout

    database = DatabaseLiveness(probe, statement=1)
    assert not database.is_alive()
    for _ in range(5):
        with pytest.raises(psycopg.OperationalError):
            database.check()
    assert asked == [0], "not again within the second"
    database._asked -= liveness.AGAIN_SECONDS
    with pytest.raises(psycopg.OperationalError):
        database.check()
    database._asked -= liveness.AGAIN_SECONDS
    database.check()
    assert (asked, database.gone) == ([0, 1, 2], False)


def test_a_refusal_is_an_answer() -> None:
    """Too many connections, starting up, no such database: the server is alive, and a waiting session goes on waiting."""

    def probe() -> None:
        raise psycopg.OperationalError("FATAL: sorry, too many clients already")

    assert DatabaseLiveness(probe, statement=1).is_alive()


def test_the_queue_s_connections_are_as_bounded(addresses: ServerAddresses, line: Proxy, impatient: None) -> None:
    del impatient
    with session_class(at(addresses, line.path)).connect(at(addresses, line.path), autocommit=True) as session:
        line.freeze()
        with pytest.raises(psycopg.OperationalError, match="does not respond"):
            session.execute("SELECT 1")
        assert session.closed
