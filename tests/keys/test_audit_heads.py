"""Countersigned heads of the audit chain: what the signer signs, what it refuses, and what it remembers."""
# A test's name is its sentence; a docstring stands where there is more to say.

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pytest

from keys import ceremony
from keys.audit_head import MAX_ENTRY, SignedHead
from keys.document import KeyPurpose, KeyState
from keys.keyring import KeyringFile, SealVerdict, read_root
from keys.log.chain import LogTail
from keys.log.reader import LogReading, chunks_of
from keys.log.writer import SigningLog
from keys.protocol import Countersign, Items, SignLotCode, SignProductCode
from keys.signer import KeySigner
from tests.support.keyroom import (
    GTIN,
    PASSPHRASE,
    PRODUCT,
    ROOT_PASSPHRASE,
    YEAR,
    RunningSigner,
    create,
    create_audit_key,
    key_room,
    revoke,
    ring,
    seal,
)
from tests.support.patience import eventually
from zpcode.errors import SignerError

NOW = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)
FIRST, OTHER = bytes(range(32)), b"\xff" * 32


class HeadBench:
    """A room with a key of each purpose, and signers on one log."""

    def __init__(self, folder: Path) -> None:
        self.room = key_room(folder)
        self.code_key = create(self.room, NOW)
        self.audit_key = create_audit_key(self.room, NOW)
        self.log = folder / "log/signer.jsonl"
        self.ticks = iter(range(1_000_000))

    def signer(self) -> KeySigner:
        """A signer as one process has it, with a log and a keyring opened for itself."""
        file = KeyringFile(self.room.keyring, read_root(self.room.root_public), lambda: float(next(self.ticks)))
        return KeySigner(file, self.room.keys_dir, PASSPHRASE, SigningLog(self.log), lambda: NOW)

    def items(self, batch: int) -> Items:
        """A request for one item code of a batch."""
        return Items(self.code_key, GTIN, batch, np.array([1], "<u8").tobytes())


@pytest.fixture
def bench(tmp_path: Path) -> HeadBench:
    """A room and an empty log."""
    return HeadBench(tmp_path)


def fault(*logs: Path) -> object:
    """The first fault of the log files, oldest first."""
    return LogReading(chunks_of(logs)).check().fault


def test_a_head_is_signed_with_the_key_and_the_prefix_of_that_purpose_alone(bench: HeadBench) -> None:
    head = bench.signer().countersign(Countersign(7, FIRST), 0)
    assert head.key_id == bench.audit_key
    assert head.message == f"zpcode-audit-head/1\n{bench.audit_key}\n7\n{FIRST.hex()}\n{int(NOW.timestamp())}".encode()
    assert ring(bench.room).verify_head(head) is SealVerdict.VALID
    for changed in (
        msgspec.structs.replace(head, id=8),
        msgspec.structs.replace(head, hash=OTHER),
        msgspec.structs.replace(head, at=head.at + 1),
        msgspec.structs.replace(head, key_id=bench.code_key),
        msgspec.structs.replace(head, key_id="AAAA"),
    ):
        assert ring(bench.room).verify_head(changed) is SealVerdict.INVALID


def test_the_key_for_heads_seals_no_code(bench: HeadBench) -> None:
    for request in (
        SignProductCode(bench.audit_key, GTIN),
        SignLotCode(bench.audit_key, GTIN, "A"),
        Items(bench.audit_key, GTIN, 1, bytes(8)),
    ):
        with pytest.raises(SignerError, match="signs no codes"):
            bench.signer().sign(request, 0)
    forged = seal(bench.room, bench.audit_key, PRODUCT)  # by somebody who has the private key
    assert ring(bench.room).verify(forged) is SealVerdict.INVALID


def test_the_key_for_heads_is_never_the_key_of_a_batch(bench: HeadBench) -> None:
    revoke(bench.room, bench.code_key, NOW)
    with pytest.raises(SignerError, match="no key may start a new batch"):
        bench.signer().active_key()


def test_a_signer_without_a_key_for_heads_says_which_ceremony_is_missing(tmp_path: Path) -> None:
    bench = HeadBench(tmp_path)
    revoke(bench.room, bench.audit_key, NOW)
    with pytest.raises(SignerError, match="zpkeys create --purpose audit-head"):
        bench.signer().countersign(Countersign(1, FIRST), 0)
    assert bench.signer().active_key() == bench.code_key


def test_each_purpose_is_rotated_alone(bench: HeadBench) -> None:
    second = ceremony.rotate(
        bench.room,
        passphrase=PASSPHRASE,
        root_passphrase=ROOT_PASSPHRASE,
        now=NOW,
        validity=YEAR,
        purpose=KeyPurpose.AUDIT_HEAD,
    )
    states = {key.id: key.state for key in ring(bench.room)}
    assert states == {bench.code_key: KeyState.ACTIVE, bench.audit_key: KeyState.RETIRED, second: KeyState.ACTIVE}
    assert bench.signer().countersign(Countersign(1, FIRST), 0).key_id == second


def test_a_head_under_a_retired_key_stays_valid_and_under_a_revoked_key_does_not(bench: HeadBench) -> None:
    head = bench.signer().countersign(Countersign(1, FIRST), 0)
    ceremony.retire(bench.room, bench.audit_key, statement=None, root_passphrase=ROOT_PASSPHRASE, now=NOW)
    assert ring(bench.room).verify_head(head) is SealVerdict.VALID
    revoke(bench.room, bench.audit_key, NOW)
    assert ring(bench.room).verify_head(head) is SealVerdict.REVOKED


@pytest.mark.parametrize(
    ("entry", "hash_"), [(0, FIRST), (-1, FIRST), (MAX_ENTRY + 1, FIRST), (1, b""), (1, bytes(31)), (1, bytes(33))]
)
def test_a_head_that_is_none_is_never_signed(bench: HeadBench, entry: int, hash_: bytes) -> None:
    with pytest.raises(SignerError, match="a head has an id"):
        bench.signer().countersign(Countersign(entry, hash_), 0)
    assert bench.signer().high_water() == LogTail()


def test_a_chain_that_was_cut_or_rewritten_gets_no_countersignature(bench: HeadBench) -> None:
    signer = bench.signer()
    signer.countersign(Countersign(7, FIRST), 0)
    for _ in range(2):
        with pytest.raises(SignerError, match="audit head 6 is older than 7"):
            signer.countersign(Countersign(6, OTHER), 0)
        with pytest.raises(SignerError, match="audit entry 7 has another hash"):
            signer.countersign(Countersign(7, OTHER), 0)
        signer = bench.signer()  # and after a restart
    assert signer.countersign(Countersign(7, FIRST), 0).id == 7
    assert signer.countersign(Countersign(9, OTHER), 0).id == 9
    assert fault(bench.log) is None


def test_the_high_water_is_the_highest_batch_and_the_newest_head(bench: HeadBench) -> None:
    signer, other = bench.signer(), bench.signer()
    assert signer.high_water() == LogTail()
    signer.sign(bench.items(12), 0)
    other.sign(bench.items(3), 0)
    signer.sign(SignLotCode(bench.code_key, GTIN, "A"), 0)
    head = other.countersign(Countersign(4, FIRST), 0)
    for each in (signer, other, bench.signer()):
        assert (each.high_water().batch, each.high_water().head) == (12, head)
    assert fault(bench.log) is None


def test_the_high_water_and_the_chain_survive_a_rotation_of_the_log(bench: HeadBench) -> None:
    """Also if the processes notice it late, if the signer was stopped meanwhile, and if the name was taken."""
    signer, sleeping = bench.signer(), bench.signer()
    signer.sign(bench.items(12), 0)
    head = signer.countersign(Countersign(4, FIRST), 0)
    names = [bench.log.with_name(f"old-{number}") for number in range(4)]
    bench.log.rename(names[0])
    signer.sign(bench.items(2), 0)
    bench.log.rename(names[1])
    sleeping.sign(bench.items(13), 0)
    bench.log.rename(names[2])
    restarted = bench.signer()
    assert (restarted.high_water().batch, restarted.high_water().head) == (13, head)
    bench.log.rename(names[3])
    bench.log.touch(0o600)
    assert (sleeping.high_water().batch, sleeping.high_water().head) == (13, head)
    assert fault(*names, bench.log) is None
    assert fault(bench.log) is None
    assert str(getattr(fault(names[0], names[2]), "kind", "")) == "previous"


def test_a_log_that_was_copied_and_emptied_keeps_the_high_water(bench: HeadBench) -> None:
    signer = bench.signer()
    signer.sign(bench.items(12), 0)
    copied = bench.log.with_name("copied")
    copied.write_bytes(bench.log.read_bytes())
    bench.log.write_bytes(b"")
    signer.sign(bench.items(1), 0)
    assert bench.signer().high_water().batch == 12
    assert fault(copied, bench.log) is None


def test_a_line_that_a_power_failure_has_torn_costs_that_line(bench: HeadBench) -> None:
    bench.signer().sign(bench.items(12), 0)
    with bench.log.open("ab") as file:
        file.write(b'{"prev":"12')
    assert bench.signer().countersign(Countersign(4, FIRST), 0)
    high = bench.signer().high_water()
    assert (high.batch, high.head is not None) == (12, True)
    checked = LogReading(chunks_of([bench.log])).check()
    assert (checked.fault, checked.lines, checked.torn) == (None, 3, 1)
    bench.log.write_bytes(bench.log.read_bytes().replace(b'{"prev":"12\n', b'{"prev":"21\n'))
    assert str(getattr(fault(bench.log), "kind", "")) == "previous"


def test_a_changed_removed_or_inserted_line_breaks_the_chain(bench: HeadBench) -> None:
    signer = bench.signer()
    for batch in (3, 2, 1):
        signer.sign(bench.items(batch), 0)
    signer.countersign(Countersign(4, FIRST), 0)
    lines = bench.log.read_bytes().splitlines()
    changed = [lines[0].replace(b'"batch":3', b'"batch":4'), *lines[1:]]
    for forged in (changed, [lines[0], *lines[2:]], lines[1:], [*lines[:2], lines[0], *lines[2:]], [*lines, b"{}"]):
        assert LogReading(line + b"\n" for line in forged).check().fault is not None
    checked = LogReading(line + b"\n" for line in lines).check()
    assert (checked.lines, checked.tail, checked.fault) == (4, signer.high_water(), None)


def test_a_log_of_before_the_chain_is_continued(bench: HeadBench) -> None:
    bench.log.parent.mkdir()
    bench.log.touch(0o600)
    bench.log.write_bytes(b'{"time":"2026-01-01","kind":"items","batch":41,"count":1}\n')
    bench.signer().sign(bench.items(2), 0)
    assert bench.signer().high_water().batch == 41
    assert fault(bench.log) is None


@pytest.fixture
def running() -> Iterator[RunningSigner]:
    """A signer of two processes."""
    with RunningSigner() as signer:
        yield signer


def test_all_processes_of_a_running_signer_share_one_high_water(running: RunningSigner) -> None:
    client = running.client
    assert (client.high_water().batch, client.high_water().audit_id) == (0, 0)
    heads: list[SignedHead] = []
    for number in range(1, 25):
        client.sign_items(running.key_id, GTIN, number, np.arange(2, dtype=np.uint64))
        heads.append(client.countersign(number, FIRST))
        with pytest.raises(SignerError, match="has another hash"):
            client.countersign(number, OTHER)
        assert client.high_water().batch == number
    assert {ring(running.room).verify_head(head) for head in heads} == {SealVerdict.VALID}
    running.stop()
    running.start()
    high = client.high_water()
    assert (high.batch, high.audit_id, high.audit_hash, high.audit_at) == (24, 24, FIRST, heads[-1].at)
    with pytest.raises(SignerError, match="older than 24"):
        client.countersign(23, FIRST)
    assert fault(running.log) is None


def test_an_audit_key_made_while_the_signer_runs_is_used_without_a_restart(running: RunningSigner) -> None:
    revoke(running.room, running.audit_key, datetime.now(UTC) - timedelta(seconds=2))
    second = create_audit_key(running.room, datetime.now(UTC))

    def countersigns() -> bool:
        try:
            return running.client.countersign(1, FIRST).key_id == second
        except SignerError:
            return False

    eventually(countersigns)
