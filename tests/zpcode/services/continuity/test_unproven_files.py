"""A file that somebody else has put among the code files stops nothing; an authentic one of an unknown batch still does."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from tests.support import restores
from tests.support.recovery_setting import Restorable
from zpcode.errors import DatabaseBehind
from zpcode.projection import projector
from zpcode.projection.head_keys import HeadKeys
from zpcode.rules.status.decisions import Action
from zpcode.services.batches import file_keys
from zpcode.services.continuity.gate import ContinuityGate
from zpcode.services.continuity.witnesses import FilesWitness
from zpcode.store.continuity import record_head_key
from zpcode.store.database.session import transaction
from zpcode.wire.payload import MAX_BATCH, Level
from zpcode.wire.vocabulary import Scope

UNKNOWN: Final = MAX_BATCH - 7


@pytest.fixture
def gate(service: Restorable) -> ContinuityGate:
    """The gate of a process that has the file key, and has written its heads."""
    folder = service.checked.context.exports
    HeadKeys(partial(file_keys.secrets_of, folder.key_file)).install(service.engine)
    projector.catch_up(service.engine, service.redis)
    new = ContinuityGate(service.engine, [FilesWitness(folder.path, folder.key_file)])
    new.install()
    assert new.compare() == ()
    return new


def _file_of(service: Restorable, number: int) -> bytes:
    """The code file of a batch, as on disk."""
    (path,) = service.checked.context.exports.path.glob(f"batch-{number}.csv")
    return path.read_bytes()


def _altered(service: Restorable) -> bytes:
    """A header with another number: its code does not hold."""
    good = bytearray(_file_of(service, service.checked.item))
    good[16:20] = UNKNOWN.to_bytes(4, "little")
    return bytes(good)


STRANGERS: Final[dict[str, Callable[[Restorable], bytes]]] = {
    "one byte": lambda _: b"x",
    "nothing, as a crash leaves it": lambda _: b"",
    "an unencrypted file": lambda _: b"code\nhttps://zpm.example/01/1\n",
    "the file of another batch": lambda service: _file_of(service, service.checked.item),
    "an altered header": _altered,
}


@pytest.mark.parametrize("content", STRANGERS.values(), ids=STRANGERS)
def test_a_file_that_this_installation_has_not_begun_stops_nothing(
    service: Restorable, gate: ContinuityGate, content: Callable[[Restorable], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    """Before, one byte under the name of a high number stopped every decision, and used up numbers."""
    path = service.checked.context.exports.path / f"batch-{UNKNOWN}.csv.part"
    path.write_bytes(content(service))
    with caplog.at_level(logging.ERROR):
        assert gate.compare() == ()
        assert gate.compare() == ()
    service.decide(Scope.BATCH, service.checked.item, Action.REVOKE)
    assert gate.unproven_files == {UNKNOWN}
    assert len([one for one in caplog.records if "not of this installation" in one.message]) == 1
    assert service.fsck(gate).of("code-files").findings
    path.unlink()
    assert gate.compare() == ()
    assert gate.unproven_files == frozenset()


@pytest.mark.parametrize("kept", [None, 97], ids=["finished", "killed after its header"])
def test_a_file_of_a_batch_that_a_restored_database_lacks_stops_it(
    service: Restorable, gate: ContinuityGate, kept: int | None
) -> None:
    """Its header is there before its first code, so it proves an unfinished file as well."""
    dumped = restores.dump(service.addresses)
    lost = service.issue(Level.COMPACT, "lost").number
    restores.restore(service.addresses, dumped)
    (path,) = service.checked.context.exports.path.glob(f"batch-{lost}.csv")
    if kept is not None:
        path.with_name(f"{path.name}.part").write_bytes(path.read_bytes()[:kept])
        path.unlink()
    folder = service.checked.context.exports
    started = ContinuityGate(service.engine, [FilesWitness(folder.path, folder.key_file)])
    assert [(one.kind, one.value) for one in started.compare()] == [("file", str(lost))]
    assert gate.compare()
    with pytest.raises(DatabaseBehind):
        service.decide(Scope.BATCH, service.checked.item, Action.REVOKE)


def test_while_the_key_of_the_heads_is_not_at_hand_every_file_counts(service: Restorable, gate: ContinuityGate) -> None:
    """The key of the files may be lost too, and so may be the batch of an unencrypted file of before."""
    with transaction(service.engine) as connection:
        record_head_key(connection, "")
    _stranger(service.checked.context.exports.path)
    assert [(one.kind, one.value) for one in gate.compare()] == [("file", str(UNKNOWN))]


def test_a_recovery_passes_no_number_of_such_a_file(service: Restorable, gate: ContinuityGate) -> None:
    """Otherwise one file would use up all numbers, or the recovery would refuse."""
    dumped = restores.dump(service.addresses)
    lost = service.issue(Level.COMPACT, "lost").number
    restores.restore(service.addresses, dumped)
    assert gate.compare()
    _stranger(service.checked.context.exports.path)
    report = service.recover()
    assert report.known.batch < UNKNOWN
    assert UNKNOWN not in {one.number for one in report.batches}
    assert lost in {one.number for one in report.batches}


def _stranger(folder: Path) -> None:
    (folder / f"batch-{UNKNOWN}.csv.part").write_bytes(b"x")
