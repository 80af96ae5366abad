"""The audit log against somebody who owns the database: everything he writes again contradicts the countersigned heads."""
# A test's name is its sentence; a docstring stands where there is more to say.

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import Connection, Engine, text
from typer.testing import CliRunner

from keys.keyring import Keyring
from tests.support import databases
from tests.support.authority import OPERATOR
from tests.support.clock import Clock
from tests.support.code_folders import code_folder
from tests.support.keyroom import RunningSigner, create_audit_key, revoke, ring
from zpcode.cli.audit import app
from zpcode.embedded.servers import ServerAddresses
from zpcode.errors import Unavailable
from zpcode.rules.access import Role
from zpcode.rules.audit import GENESIS, RECOVERY, digest
from zpcode.services import access, audit
from zpcode.services.audit_heads import COUNTERSIGN_SECONDS, Countersigner, HeadFile, read_heads
from zpcode.services.fsck import run
from zpcode.services.fsck.context import CheckContext
from zpcode.store import audit as log
from zpcode.store.database.session import transaction


@pytest.fixture
def own_signer() -> Iterator[RunningSigner]:
    """A signer of two processes, which has countersigned nothing."""
    with RunningSigner() as signer:
        yield signer


@dataclass
class CountersignedLog:
    """A log of a few entries and API keys, countersigned; its owner; and the two checks."""

    engine: Engine
    redis: Redis
    signer: RunningSigner
    file: HeadFile
    folder: Path
    now: datetime
    shell: Callable[..., Any]

    def keyring(self) -> Keyring:
        """The keyring now."""
        return ring(self.signer.room)

    def countersign(self) -> None:
        """What the worker does."""
        Countersigner(self.engine, self.signer.client, self.file).step()

    def fsck(self, name: str) -> set[str]:
        """The reasons of the findings of one check."""
        context = CheckContext(
            self.engine,
            self.redis,
            code_folder(self.folder),
            self.keyring,
            self.now,
            patience=0,
            heads=lambda: read_heads(self.file, self.signer.client, self.keyring()),
        )
        result = run.check(context, only=[name]).of(name)
        assert result.obstacle is None
        return {finding.reason for finding in result.findings}

    def reasons(self) -> set[str]:
        """What `zpcode fsck` finds in the log and the keys. `zpcode audit verify` must agree that all is well, or that it is not."""
        found_by_fsck = self.fsck("audit-chain") | self.fsck("api-keys")
        verified = self.shell("verify")
        assert verified.exit_code == (1 if found_by_fsck else 0), verified.output
        return found_by_fsck


@pytest.fixture
def countersigned(
    engine: Engine, redis: Redis, addresses: ServerAddresses, own_signer: RunningSigner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> CountersignedLog:  # fmt: skip
    """Four entries, two of them of API keys."""
    for name, value in {
        "HOME": own_signer.home,
        "DATABASE_URL": addresses.database,
        "AUDIT_HEADS": tmp_path / "heads.jsonl",
    }.items():
        monkeypatch.setenv(f"ZPCODE_{name}", str(value))
    now = datetime.now(UTC).replace(microsecond=0)
    file = HeadFile(tmp_path / "heads.jsonl")
    made = CountersignedLog(
        engine, redis, own_signer, file, tmp_path, now, lambda *words: CliRunner().invoke(app, list(words))
    )
    for label in ("MES", "WMS"):
        access.create(engine, Role.OPERATOR, "*", label, caller=OPERATOR, now=now)
    with transaction(engine) as connection:
        for number in range(2):
            log.append(connection, at=now, actor="regulator:330000:K", action="test", object_=f"x:{number}", detail={})
    made.countersign()
    assert made.reasons() == set()
    return made


def as_owner(engine: Engine, change: Callable[[Connection], object]) -> None:
    """Do what the owner of the tables can do: without triggers."""
    with databases.as_owner(engine) as connection:
        connection.execute(text("ALTER TABLE audit DISABLE TRIGGER USER"))
        change(connection)
        connection.execute(text("ALTER TABLE audit ENABLE TRIGGER USER"))


def written_again(connection: Connection, *, without: str = "", actor: str = "") -> None:
    """Compute the whole chain again, without the entries of an action, or with another actor of the last entry."""
    entries = [entry for entry, _, _ in log.entries(connection) if entry.action != without]
    if actor:
        entries[-1] = replace(entries[-1], actor=actor)
    connection.execute(text("DELETE FROM audit"))
    head = GENESIS
    for number, entry in enumerate(entries, 1):
        fresh = replace(entry, id=number)
        values = {name: getattr(fresh, name) for name in ("id", "at", "actor", "action", "object")}
        values |= {"detail": json.dumps(fresh.detail), "previous": head, "hash": digest(head, fresh)}
        columns = ", ".join(values)
        places = ", ".join(f":{name}" for name in values)
        connection.execute(text(f"INSERT INTO audit ({columns}) VALUES ({places})"), values)  # noqa: S608 - our own names
        head = values["hash"]


def test_a_changed_actor_in_a_chain_that_is_computed_again_shows(
    engine: Engine, countersigned: CountersignedLog
) -> None:
    as_owner(engine, lambda connection: written_again(connection, actor="regulator:330000:L"))
    assert audit.verify(engine).whole  # by itself the chain holds
    assert countersigned.reasons() == {"rewritten"}


def test_an_entry_that_was_erased_from_a_chain_that_is_computed_again_shows(
    engine: Engine, countersigned: CountersignedLog
) -> None:
    as_owner(engine, lambda connection: written_again(connection, without="access.create"))
    assert countersigned.reasons() == {"cut", "unlogged"}


def test_a_cut_tail_shows_also_without_the_file_or_without_the_signer(
    engine: Engine, countersigned: CountersignedLog
) -> None:
    as_owner(engine, lambda connection: connection.execute(text("DELETE FROM audit WHERE id = 4")))
    assert countersigned.reasons() == {"cut"}
    countersigned.file.path.rename(countersigned.folder / "gone")
    assert countersigned.reasons() == {"cut"}
    (countersigned.folder / "gone").rename(countersigned.file.path)
    countersigned.signer.stop()
    assert countersigned.reasons() == {"cut"}


def test_a_new_tail_after_a_cut_gets_no_countersignature(engine: Engine, countersigned: CountersignedLog) -> None:
    def forge(connection: Connection) -> None:
        connection.execute(text("DELETE FROM audit WHERE id = 4"))
        log.append(connection, at=countersigned.now, actor="x", action="y", object_="z", detail={})

    as_owner(engine, forge)
    with pytest.raises(Unavailable, match="audit entry 4 has another hash"):
        countersigned.countersign()
    assert countersigned.reasons() == {"rewritten"}


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        (
            "INSERT INTO api_key SELECT 'ABCDEFGHJKMN', secret_hash, role, subject, label, created_at FROM api_key LIMIT 1",
            "unlogged",
        ),
        ("UPDATE api_key SET secret_hash = sha256('known') WHERE label = 'MES'", "altered"),
        ("UPDATE api_key SET role = 'regulator', subject = '330000' WHERE label = 'MES'", "altered"),
        ("UPDATE api_key SET label = 'WMS'", "altered"),
        ("UPDATE api_key SET created_at = created_at - interval '1 day' WHERE label = 'MES'", "altered"),
        ("UPDATE api_key SET revoked_at = now() WHERE label = 'MES'", "unlogged revocation"),
        ("DELETE FROM api_key WHERE label = 'MES'", "missing"),
    ],
)
def test_an_api_key_that_was_changed_by_hand_shows(
    engine: Engine, countersigned: CountersignedLog, statement: str, reason: str
) -> None:
    as_owner(engine, lambda connection: connection.execute(text(statement)))
    assert countersigned.reasons() == {reason}


def test_a_revocation_that_was_undone_by_hand_shows(engine: Engine, countersigned: CountersignedLog) -> None:
    key = access.listing(engine, OPERATOR)[0].id
    access.revoke(engine, key, caller=OPERATOR, now=countersigned.now)
    assert countersigned.reasons() == set()
    as_owner(engine, lambda connection: connection.execute(text("UPDATE api_key SET revoked_at = NULL")))
    assert countersigned.reasons() == {"revived"}


def test_entries_that_nobody_countersigned_show_after_ten_minutes(
    engine: Engine, countersigned: CountersignedLog
) -> None:
    with transaction(engine) as connection:
        log.append(connection, at=countersigned.now, actor="x", action="y", object_="z", detail={})
    assert countersigned.fsck("audit-chain") == set()
    countersigned.now += timedelta(minutes=11)
    assert countersigned.fsck("audit-chain") == {"uncovered"}
    countersigned.countersign()
    assert countersigned.fsck("audit-chain") == set()


def test_lines_of_somebody_else_in_the_file_prove_nothing_and_show(
    engine: Engine, countersigned: CountersignedLog
) -> None:
    (line,) = countersigned.file.lines()
    forged = json.loads(line) | {"id": 99}
    with countersigned.file.path.open("ab") as file:
        file.write(json.dumps(forged).encode() + b"\n\xff\n{}\n[1]\n" + b'{"id":1}')
    countersigned.countersign()
    assert countersigned.fsck("audit-chain") == {"unsigned"}
    assert audit.verify(
        engine, heads=read_heads(countersigned.file, countersigned.signer.client, countersigned.keyring())
    ).whole
    assert "5 lines are not signed" in countersigned.shell("verify").output


def test_heads_under_a_revoked_key_prove_nothing(countersigned: CountersignedLog) -> None:
    then = datetime.now(UTC)
    revoke(countersigned.signer.room, countersigned.signer.audit_key, then)
    heads = read_heads(countersigned.file, countersigned.signer.client, countersigned.keyring())
    assert (heads.newest, heads.revoked, heads.unsigned) == (None, 2, 0)
    assert "no countersignature" in countersigned.shell("verify").output
    create_audit_key(countersigned.signer.room, then)


def test_lost_ids_are_allowed_only_where_a_recovery_declares_them(
    engine: Engine, countersigned: CountersignedLog
) -> None:
    """Four entries are countersigned, the last is lost to a restore, and `recover` goes on after the floor."""

    def recover(detail: dict[str, int], number: int) -> Callable[[Connection], None]:
        def change(connection: Connection) -> None:
            connection.execute(text("DELETE FROM audit WHERE id > 3"))
            log.append(
                connection, at=countersigned.now, actor="cli", action=RECOVERY, object_="database", detail=detail
            )
            (last, *_, previous, _) = connection.execute(text("SELECT * FROM audit ORDER BY id DESC LIMIT 1")).one()
            assert last == 4
            entry = replace(log.about(connection, "database", 1)[0], id=number)
            values = {"id": number, "hash": digest(bytes(previous), entry)}
            connection.execute(text("UPDATE audit SET id = :id, hash = :hash WHERE id = 4"), values)

        return change

    as_owner(engine, recover({"after": 3, "lost_to": 4}, 5))
    verified = audit.verify(engine)
    assert (verified.chain.count, verified.chain.last, verified.chain.lost) == (4, 5, (range(4, 5),))
    assert countersigned.reasons() == set()
    countersigned.countersign()
    assert countersigned.reasons() == set()
    for detail, number in (
        ({"after": 3, "lost_to": 4}, 6),
        ({"after": 2, "lost_to": 4}, 5),
        ({"lost_to": 4}, 5),
        ({}, 5),
    ):
        as_owner(engine, recover(detail, number))
        assert "gap" in countersigned.reasons(), (detail, number)


def test_the_head_is_countersigned_when_it_moved_and_every_minute(
    engine: Engine, countersigned: CountersignedLog, clock: Clock
) -> None:
    seconds = iter([0.0, 1.0, COUNTERSIGN_SECONDS + 1, COUNTERSIGN_SECONDS + 2, COUNTERSIGN_SECONDS + 3])
    ticks = [0.0]
    countersigner = Countersigner(engine, countersigned.signer.client, countersigned.file, lambda: ticks[0])
    assert clock is not None
    for expected in (True, False, True, False):
        ticks[0] = next(seconds)
        assert (countersigner.step() is not None) == expected
    with transaction(engine) as connection:
        log.append(connection, at=countersigned.now, actor="x", action="y", object_="z", detail={})
    head = countersigner.step()
    assert head is not None
    assert head.id == 5
    assert len(list(countersigned.file.lines())) == 4
    assert countersigned.file.path.stat().st_mode & 0o777 == 0o600


def test_a_worker_that_another_one_has_overtaken_waits_for_nothing(
    engine: Engine, countersigned: CountersignedLog
) -> None:
    with transaction(engine) as connection:
        before = log.head(connection)
        log.append(connection, at=countersigned.now, actor="x", action="y", object_="z", detail={})
    countersigned.countersign()
    late = Countersigner(engine, countersigned.signer.client, countersigned.file)
    assert before is not None
    assert late._signed(before) is None


def test_an_empty_log_has_no_head(engine: Engine, own_signer: RunningSigner, tmp_path: Path) -> None:
    file = HeadFile(tmp_path / "heads.jsonl")
    assert Countersigner(engine, own_signer.client, file).step() is None
    assert list(file.lines()) == []
