"""The audit log against somebody who owns the database: everything he writes again contradicts the countersigned heads."""
# A test's name is its sentence; a docstring stands where there is more to say.

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, text

from tests.support.authority import OPERATOR
from tests.support.clock import Clock
from tests.support.countersigned_log import CountersignedLog, as_owner, written_again
from tests.support.keyroom import RunningSigner, create_audit_key, revoke
from zpcode.errors import Unavailable
from zpcode.rules.audit import RECOVERY, digest
from zpcode.services import access, audit
from zpcode.services.audit_heads import COUNTERSIGN_SECONDS, Countersigner, HeadFile
from zpcode.store import audit as log
from zpcode.store.database.session import transaction


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
    assert audit.verify(engine, heads=countersigned.heads()).whole
    assert "5 lines are not signed" in countersigned.shell("verify").output


def test_heads_under_a_revoked_key_prove_nothing(countersigned: CountersignedLog) -> None:
    then = datetime.now(UTC)
    revoke(countersigned.signer.room, countersigned.signer.audit_key, then)
    heads = countersigned.report()
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
