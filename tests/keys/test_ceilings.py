"""What one request can move the signer's high water to: a ceiling that grows with time only."""
# A test's name is its sentence; a docstring stands where there is more to say.

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from keys.audit_head import MAX_ENTRY
from keys.keyring import KeyringFile, read_root
from keys.log.ceiling import AUDIT_ENTRIES, BATCHES, ReachedValue, permitted
from keys.log.reader import LogReading, chunks_of
from keys.log.writer import SigningLog
from keys.protocol import Countersign, Items
from keys.signer import KeySigner
from tests.support.keyroom import GTIN, PASSPHRASE, YEAR, RunningSigner, create, create_audit_key, key_room
from zpcode.errors import SignerError
from zpcode.wire.payload import MAX_BATCH

NOW = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)
HASH = bytes(range(32))
DAY = timedelta(days=1)
A_DAY = 86_400 * BATCHES.grows // BATCHES.seconds


class CeilingBench:
    """A signer whose clock the test sets. `restarted` reads its log again."""

    def __init__(self, folder: Path) -> None:
        self.room = key_room(folder)
        begin = NOW - timedelta(days=2)
        self.code_key, _ = create(self.room, begin, 10 * YEAR), create_audit_key(self.room, begin)
        self.log = folder / "log/signer.jsonl"
        self.now = NOW
        self.ticks = itertools.count()
        self.restarted()

    def restarted(self, **highest: str) -> None:
        """Another process of the signer, with these settings."""
        ring = KeyringFile(self.room.keyring, read_root(self.room.root_public), lambda: float(next(self.ticks)))
        log = SigningLog(self.log)
        self.signer = KeySigner(
            ring,
            self.room.keys_dir,
            PASSPHRASE,
            log,
            lambda: self.now,
            **{name: permitted(text) for name, text in highest.items()},
        )

    def signs(self, batch: int) -> bool:
        """Whether an item of this batch is signed. Only the refusal of the ceiling counts as none."""
        request = Items(self.code_key, GTIN, batch, np.array([1], "<u8").tobytes())
        try:
            return len(self.signer.sign(request, 0)) == 64
        except SignerError as error:
            return "ZPCODE_SIGNER_HIGHEST_BATCH" not in error.text.en

    def countersigns(self, entry: int) -> bool:
        """Whether this audit entry is countersigned. Only the refusal of the ceiling counts as none."""
        try:
            return self.signer.countersign(Countersign(entry, HASH), 0).id == entry
        except SignerError as error:
            return "ZPCODE_SIGNER_HIGHEST_AUDIT_ENTRY" not in error.text.en


@pytest.fixture
def bench(tmp_path: Path) -> CeilingBench:
    """A signer with an empty log."""
    return CeilingBench(tmp_path)


def test_the_highest_numbers_of_all_are_refused_and_nothing_is_logged(bench: CeilingBench) -> None:
    assert not bench.signs(MAX_BATCH)
    assert not bench.countersigns(MAX_ENTRY)
    assert bench.log.read_bytes() == b""
    assert bench.signs(1)
    assert bench.countersigns(1)
    before = bench.log.read_bytes()
    assert not bench.signs(MAX_BATCH)
    assert not bench.countersigns(MAX_ENTRY)
    assert bench.log.read_bytes() == before
    assert bench.signs(2)
    assert bench.countersigns(2)


def test_repeated_requests_move_the_ceiling_not_at_all(bench: CeilingBench) -> None:
    assert bench.signs(5)
    ceiling = 5 + BATCHES.start
    for batch in (ceiling - 1, ceiling):
        assert bench.signs(batch)
    for _ in range(3):
        assert not bench.signs(ceiling + 1)
        bench.restarted()
    assert bench.signs(7), "a number below the high water is always signed"
    bench.now += DAY
    assert bench.signs(ceiling + A_DAY - 1)
    assert not bench.signs(ceiling + A_DAY + 2)


def test_audit_entries_have_a_ceiling_too(bench: CeilingBench) -> None:
    assert bench.countersigns(5)
    assert not bench.countersigns(5 + AUDIT_ENTRIES.start + 1)
    assert bench.countersigns(5 + AUDIT_ENTRIES.start)
    bench.now += timedelta(seconds=10)
    assert not bench.countersigns(5 + AUDIT_ENTRIES.start + 10_001)
    assert bench.countersigns(5 + AUDIT_ENTRIES.start + 10_000)


def test_a_new_log_takes_the_numbers_of_an_old_installation_and_leaves_room(bench: CeilingBench) -> None:
    assert bench.signs(MAX_BATCH // 2)
    assert not bench.signs(MAX_BATCH // 2 + BATCHES.start + 1)
    assert not bench.countersigns(AUDIT_ENTRIES.first + 1)
    assert bench.countersigns(AUDIT_ENTRIES.first)
    assert AUDIT_ENTRIES.first < MAX_ENTRY // 1000


def test_a_setting_permits_what_is_not_plausible_yet_and_what_comes_after_it(bench: CeilingBench) -> None:
    """As the refusal and docs/keys.md say: the authority's highest number, and the day."""
    assert bench.signs(1)
    assert bench.countersigns(1)
    for batch, entry in ((600_100, 1 << 30), (3_000_000, 1 << 50)):
        assert not bench.signs(batch)
        assert not bench.countersigns(entry)
        day = f"{bench.now:%Y-%m-%d}"
        bench.restarted(highest_batch=f"{batch}@{day}", highest_audit_entry=f"{entry}@{day}")
        for more in range(3):
            assert bench.signs(batch + more)
            assert bench.countersigns(entry + more)
        assert not bench.signs(batch + BATCHES.start + 2 * A_DAY)
        bench.now += 30 * DAY
        bench.restarted(highest_batch=f"{batch}@{day}", highest_audit_entry=f"{entry}@{day}")
        assert bench.signs(batch + BATCHES.start + 29 * A_DAY)
        assert not bench.signs(batch + BATCHES.start + 32 * A_DAY)
        assert bench.countersigns(entry + AUDIT_ENTRIES.start + 29 * 86_400 * AUDIT_ENTRIES.grows)


def test_a_setting_without_a_day_permits_a_margin_that_does_not_grow(bench: CeilingBench) -> None:
    bench.restarted(highest_batch="40000000")
    assert bench.signs(40_000_000)
    assert bench.signs(40_000_000 + BATCHES.start)
    bench.restarted(highest_batch="0")
    bench.now += DAY
    assert bench.signs(40_000_000 + BATCHES.start + 1), "a new log begins with its first value"


@pytest.mark.parametrize(
    "text", ["", "-1", "1.5", "7@", "7@2026-13-01", "7@2026-02-30", "7@20260230", "@2026-11-30", "9" * 17]
)
def test_a_setting_that_is_no_number_with_a_day_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be a number or NUMBER@YYYY-MM-DD"):
        permitted(text)


def test_the_ceiling_survives_rotations_and_restarts(bench: CeilingBench) -> None:
    assert bench.signs(5)
    assert bench.countersigns(9)
    bench.now += 30 * DAY
    assert bench.signs(700)
    assert bench.countersigns(7000)
    names = [bench.log.with_name(f"old-{number}") for number in range(3)]
    for name in names:
        bench.log.rename(name)
        bench.restarted()
        bench.now += DAY
    limit = BATCHES.highest(ReachedValue(5, int(NOW.timestamp())), int(bench.now.timestamp()))
    assert not bench.signs(limit + 1)
    assert bench.signs(limit)
    limit = AUDIT_ENTRIES.highest(ReachedValue(9, int(NOW.timestamp())), int(bench.now.timestamp()))
    assert not bench.countersigns(limit + 1)
    assert bench.countersigns(limit)
    for logs in ([*names, bench.log], [bench.log]):
        assert LogReading(chunks_of(logs)).check().fault is None


def test_a_clock_that_goes_back_keeps_nobody_out(bench: CeilingBench) -> None:
    assert bench.signs(5)
    assert bench.countersigns(5)
    bench.now += 300 * DAY
    batch, entry = BATCHES.start + 200 * A_DAY, 2 * AUDIT_ENTRIES.start
    assert bench.signs(batch)
    assert bench.countersigns(entry)
    bench.now = NOW - DAY
    for later in (1, 2):
        assert bench.signs(batch + later)
        assert bench.countersigns(entry + later)
        bench.log.rename(bench.log.with_name(f"old-{later}"))
        bench.restarted()


def test_a_log_that_an_earlier_version_continued_begins_where_it_goes_on(bench: CeilingBench) -> None:
    """Its first line has the high water, and neither a time nor the first values."""
    bench.log.parent.mkdir(exist_ok=True)
    bench.log.write_bytes(b'{"prev":"' + b"0" * 64 + b'","kind":"continued","batch":4000000}\n')
    bench.log.chmod(0o600)
    bench.restarted()
    assert not bench.signs(4_000_000 + BATCHES.start + 1)
    assert bench.signs(4_000_001)
    bench.now += DAY
    assert bench.signs(4_000_000 + BATCHES.start + A_DAY)
    bench.restarted()
    assert not bench.signs(4_000_000 + BATCHES.start + A_DAY + 2)


def test_times_of_before_the_chain_are_read(bench: CeilingBench) -> None:
    bench.log.parent.mkdir(exist_ok=True)
    bench.log.write_bytes(b'{"time":"2026-11-20","kind":"items","batch":41,"count":1}\n{"time":"?","batch":42}\n')
    bench.log.chmod(0o600)
    bench.restarted()
    assert bench.signs(41 + BATCHES.start + A_DAY)
    assert not bench.signs(41 + BATCHES.start + 2 * A_DAY)


def test_the_numbers_last_for_twenty_years_and_then_the_last_one_is_signed() -> None:
    first = ReachedValue(1, 0 + int(NOW.timestamp()))
    at = int((NOW + timedelta(days=365 * 19)).timestamp())
    assert BATCHES.highest(first, at) < MAX_BATCH
    assert BATCHES.highest(first, at + 2 * 365 * 86_400) == MAX_BATCH


def test_all_processes_of_a_running_signer_have_one_ceiling() -> None:
    with RunningSigner() as running:
        client, one = running.client, np.array([1], np.uint64)
        client.sign_items(running.key_id, GTIN, 3, one)
        for batch in (MAX_BATCH, 4 + BATCHES.start + A_DAY):
            for _ in range(4):
                with pytest.raises(SignerError, match="the highest that is plausible now") as caught:
                    client.sign_items(running.key_id, GTIN, batch, one)
        assert "目前合理的上限" in caught.value.text.zh
        assert client.high_water().batch == 3
        running.stop()
        running.environment |= {"ZPCODE_SIGNER_HIGHEST_BATCH": str(MAX_BATCH - 1)}
        running.start()
        assert len(client.sign_items(running.key_id, GTIN, MAX_BATCH - 1, one)) == 64
