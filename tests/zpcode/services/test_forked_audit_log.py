"""The audit log against somebody who owns the database and the file of heads, and has his fork countersigned at a higher id.

The signer refuses only what contradicts its newest head. Its own log has all heads of before.
"""
# A test's name is its sentence; a docstring stands where there is more to say.

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, text

from keys.log.writer import SigningLog
from tests.support.countersigned_log import CountersignedLog, as_owner, written_again
from tests.support.keyroom import revoke
from zpcode.cli.audit import NOT_COMPARED
from zpcode.services import audit, head_comparison
from zpcode.services.audit_heads import HeadFile
from zpcode.store import audit as log
from zpcode.store.database.session import transaction


def append(engine: Engine, countersigned: CountersignedLog, entries: int = 1) -> None:
    """Add entries to the log, as the service does."""
    with transaction(engine) as connection:
        for _ in range(entries):
            log.append(connection, at=countersigned.now, actor="x", action="y", object_="z", detail={})


def fork(countersigned: CountersignedLog, change: Callable[[Connection], object], entries: int = 1) -> None:
    """Change old entries, compute the chain again, have a higher id of it countersigned, and replace the file of heads."""
    engine = countersigned.engine
    as_owner(engine, change)
    append(engine, countersigned, entries)
    countersigned.file.path.unlink()
    countersigned.countersign()


def test_an_entry_changed_before_the_newest_head_shows_after_the_fork_was_countersigned(
    countersigned: CountersignedLog,
) -> None:
    fork(countersigned, lambda connection: written_again(connection, actor="someone"))
    newest = countersigned.report().newest
    assert newest is not None
    assert newest.id == 5
    assert countersigned.reasons() == {"rewritten"}
    countersigned.file.path.unlink()
    assert countersigned.reasons() == {"rewritten"}


def test_entries_erased_before_the_newest_head_show_after_the_fork_was_countersigned(
    countersigned: CountersignedLog,
) -> None:
    fork(countersigned, lambda connection: written_again(connection, without="test"), entries=3)
    assert countersigned.reasons() == {"rewritten"}


def test_an_end_that_was_removed_shows_without_the_file(engine: Engine, countersigned: CountersignedLog) -> None:
    append(engine, countersigned, 2)
    countersigned.countersign()
    countersigned.file.path.unlink()
    as_owner(engine, lambda connection: connection.execute(text("DELETE FROM audit WHERE id > 4")))
    assert countersigned.reasons() == {"cut"}


def test_a_file_of_heads_that_cannot_be_read_hides_nothing(countersigned: CountersignedLog) -> None:
    fork(countersigned, lambda connection: written_again(connection, actor="someone"))
    path = countersigned.file.path
    path.unlink()
    for make, remove in (
        (path.mkdir, path.rmdir),
        (partial(os.mkfifo, path), path.unlink),
        (partial(path.symlink_to, path), path.unlink),
    ):
        make()
        verified = countersigned.shell("verify")
        assert verified.exit_code == 1
        assert "entry 4 is not the countersigned one" in verified.output
        assert "not all countersignatures were compared" in verified.output
        remove()


def test_what_could_not_be_compared_is_no_success(countersigned: CountersignedLog) -> None:
    """A silent signer, an unreadable keyring."""
    assert countersigned.shell("verify").exit_code == 0
    countersigned.signer.room.keyring.rename(countersigned.folder / "keyring")
    assert countersigned.shell("verify").exit_code == NOT_COMPARED
    (countersigned.folder / "keyring").rename(countersigned.signer.room.keyring)
    countersigned.signer.stop()
    verified = countersigned.shell("verify")
    assert verified.exit_code == NOT_COMPARED
    assert "does not answer" in verified.output
    countersigned.signer.start()
    assert countersigned.shell("verify").exit_code == 0


def test_a_fork_before_a_rotation_shows_with_the_rotated_file(
    engine: Engine, countersigned: CountersignedLog, tmp_path: Path
) -> None:
    rotated = [tmp_path / "signer-1", tmp_path / "signer-2"]
    append(engine, countersigned)
    countersigned.countersign()
    for path in rotated:
        countersigned.signer.log.rename(path)
        append(engine, countersigned)
        countersigned.countersign()
    verified = countersigned.shell("verify")
    assert verified.exit_code == 0
    assert "continues an earlier file" in verified.output
    fork(countersigned, lambda connection: written_again(connection, actor="someone", at=4))
    assert countersigned.reasons() == {"rewritten"}
    words = [word for path in rotated for word in ("--signing-log", str(path))]
    verified = countersigned.shell("verify", *words)
    assert verified.exit_code == 1
    assert [f"entry {number} is not the countersigned one" in verified.output for number in range(4, 8)] == [True] * 4
    assert "continues an earlier file" not in verified.output
    assert "was changed, removed or inserted" not in verified.output
    wrong = countersigned.shell("verify", "--signing-log", str(rotated[0]))
    assert "line 3 of the signing log was changed, removed or inserted (previous)" in wrong.output
    assert "oldest first, none left out" in wrong.output
    missing = countersigned.shell("verify", "--signing-log", str(tmp_path / "none"))
    assert "cannot read" in missing.output


def test_a_rotated_file_is_enough_when_the_signer_is_gone(countersigned: CountersignedLog, tmp_path: Path) -> None:
    fork(countersigned, lambda connection: written_again(connection, actor="someone"))
    kept = countersigned.signer.log.rename(tmp_path / "kept")
    countersigned.signer.stop()
    verified = countersigned.shell("verify", "--signing-log", str(kept))
    assert verified.exit_code == 1
    assert "entry 4 is not the countersigned one" in verified.output


def test_a_changed_signing_log_shows(countersigned: CountersignedLog) -> None:
    countersigned.countersign()
    content = countersigned.signer.log.read_bytes()
    countersigned.signer.log.write_bytes(content.replace(b'"uid":0', b'"uid":1', 1))
    assert countersigned.reasons() == {"signing-log"}
    assert "of the signing log was changed, removed or inserted" in countersigned.shell("verify").output


def test_heads_in_the_signing_log_that_no_key_has_signed_accuse_nobody(
    engine: Engine, countersigned: CountersignedLog
) -> None:
    """Somebody who can write to the log only makes himself noticed."""
    signing_log = SigningLog(countersigned.signer.log)
    with signing_log.writing() as file:
        fields = json.loads(countersigned.signer.log.read_bytes().splitlines()[-1])
        file.write({**{name: fields[name] for name in fields if name != "prev"}, "id": 5})
    signing_log.close()
    append(engine, countersigned)
    report = countersigned.report()
    assert (report.contradicted, report.unsigned) == ([], 1)


def test_a_head_under_a_revoked_key_in_the_signing_log_accuses_nobody(
    countersigned: CountersignedLog,
) -> None:
    fork(countersigned, lambda connection: written_again(connection, actor="someone"))
    assert countersigned.reasons() == {"rewritten"}
    revoke(countersigned.signer.room, countersigned.signer.audit_key, countersigned.now)
    assert countersigned.report().contradicted == []


def test_a_head_that_is_countersigned_after_the_heads_were_read_is_no_contradiction(
    engine: Engine, countersigned: CountersignedLog
) -> None:
    """The database is read later than the signer's log and the file, so it has at least what they have."""
    heads = countersigned.heads()
    append(engine, countersigned)
    countersigned.countersign()
    as_owner(engine, lambda connection: connection.execute(text("DELETE FROM audit WHERE id > 4")))
    assert audit.verify(engine, heads=heads).whole


def test_a_whole_chain_written_again_is_reported_in_bounded_memory(
    engine: Engine, countersigned: CountersignedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(5):
        append(engine, countersigned)
        countersigned.countersign()
    as_owner(engine, lambda connection: written_again(connection, without="access.create"))
    assert len(countersigned.report().contradicted) == 6
    monkeypatch.setattr(head_comparison, "MAX_CONTRADICTIONS", 3)
    assert len(countersigned.report().contradicted) == 3


def test_a_line_of_the_file_of_heads_without_end_is_read_in_pieces(tmp_path: Path) -> None:
    file = HeadFile(tmp_path / "heads")
    file.path.write_bytes(b"x" * 200_000)
    assert max(map(len, file.lines())) == 64 * 1024
