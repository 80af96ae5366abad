"""What the signer signs, refuses and logs: the signer itself, on real files and a clock of ours."""
# A test's name is its sentence; a docstring stands where there is more to say.

from __future__ import annotations

import contextlib
import hashlib
import json
import resource
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from keys.ceremony import KeyRoom
from keys.keyring import KeyringFile, SealVerdict, read_root
from keys.log.writer import SigningLog
from keys.protocol import MAX_ITEMS, Items, SignLotCode, SignProductCode
from keys.signer import KeySigner, key_path
from tests.support.keyroom import GTIN, PASSPHRASE, create, key_room, retire, revoke, ring, rotate
from zpcode.errors import KeyringError, SignerError
from zpcode.wire.payload import MAX_BATCH, Code, Identity, Seal, Serial, signed_bytes
from zpcode.wire.permutation import SLOTS

NOW = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)


@dataclass
class SignerBench:
    """A signer on a room, and the clock both go by."""

    room: KeyRoom
    now: datetime = NOW
    signer: KeySigner = field(init=False)

    def __post_init__(self) -> None:
        self.key_id = create(self.room, NOW)
        self.log = self.room.keys_dir.parent / "log" / "signer.jsonl"
        file = KeyringFile(self.room.keyring, read_root(self.room.root_public), self.seconds)
        self.signer = KeySigner(file, self.room.keys_dir, PASSPHRASE, SigningLog(self.log), lambda: self.now)

    def seconds(self) -> float:
        """A monotonic clock that goes a second whenever it is looked at."""
        self._seconds = getattr(self, "_seconds", 0.0) + 1
        return self._seconds

    def entries(self) -> list[dict[str, object]]:
        """The log so far, without the hashes that chain it."""
        entries = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [{name: value for name, value in entry.items() if name != "prev"} for entry in entries]


@pytest.fixture
def bench(tmp_path: Path) -> SignerBench:
    """A signer with one active key."""
    return SignerBench(key_room(tmp_path))


def packed(*slots: int) -> bytes:
    """Slots as they go over the socket."""
    return np.array(slots, "<u8").tobytes()


def test_every_kind_is_signed_as_the_keyring_verifies_it(bench: SignerBench) -> None:
    slots, batch = (0, 1, SLOTS - 1), MAX_BATCH // 2
    raw = bench.signer.sign(Items(bench.key_id, GTIN, batch, packed(*slots)), 0)
    made = [(Identity(GTIN, serial=Serial(batch, slot)), raw[64 * at : 64 * at + 64]) for at, slot in enumerate(slots)]
    made.append((Identity(GTIN), bench.signer.sign(SignProductCode(bench.key_id, GTIN), 0)))
    made.append((Identity(GTIN, lot="A.1-9"), bench.signer.sign(SignLotCode(bench.key_id, GTIN, "A.1-9"), 0)))
    for identity, signature in made:
        assert ring(bench.room).verify(Code(identity, Seal(bench.key_id, signature))) is SealVerdict.VALID


def test_signing_again_gives_the_same_bytes(bench: SignerBench) -> None:
    request = Items(bench.key_id, GTIN, 3, packed(5, 4))
    assert bench.signer.sign(request, 0) == bench.signer.sign(request, 0)


@pytest.mark.parametrize(
    "gtin", ["09501101530004", "9501101530003", "", "0950110153000x", "０9501101530003", "/" * 999]
)
def test_a_gtin_that_is_none_is_never_signed(bench: SignerBench, gtin: str) -> None:
    for request in (
        SignProductCode(bench.key_id, gtin),
        SignLotCode(bench.key_id, gtin, "A"),
        Items(bench.key_id, gtin, 1, packed(1)),
    ):
        with pytest.raises(SignerError, match="GTIN"):
            bench.signer.sign(request, 0)
    assert bench.entries() == []


@pytest.mark.parametrize("lot", ["", "a", "A/21/B", "A" * 21, "A\n", "批", "..", "A B"])
def test_a_lot_that_is_none_is_never_signed(bench: SignerBench, lot: str) -> None:
    with pytest.raises(SignerError, match="lot"):
        bench.signer.sign(SignLotCode(bench.key_id, GTIN, lot), 0)
    assert bench.entries() == []


@pytest.mark.parametrize(
    ("batch", "slots", "reason"),
    [
        (0, packed(1), "batch number"),
        (-1, packed(1), "batch number"),
        (MAX_BATCH + 1, packed(1), "batch number"),
        (1, b"", "1 to 65536"),
        (1, packed(1)[:7], "1 to 65536"),
        (1, packed(1) + b"\0", "1 to 65536"),
        (1, packed(*[1] * (MAX_ITEMS + 1)), "1 to 65536"),
        (1, packed(1, SLOTS), "slot"),
        (1, packed(2**64 - 1), "slot"),
    ],
)
def test_items_out_of_bounds_are_never_signed(bench: SignerBench, batch: int, slots: bytes, reason: str) -> None:
    with pytest.raises(SignerError, match=reason):
        bench.signer.sign(Items(bench.key_id, GTIN, batch, slots), 0)
    assert bench.entries() == []


def test_a_full_request_is_signed(bench: SignerBench) -> None:
    slots = np.arange(MAX_ITEMS, dtype="<u8").tobytes()
    assert len(bench.signer.sign(Items(bench.key_id, GTIN, 1, slots), 0)) == 64 * MAX_ITEMS


def test_an_unknown_key_signs_nothing(bench: SignerBench) -> None:
    with pytest.raises(SignerError, match="there is no key 'NONE'"):
        bench.signer.sign(SignProductCode("NONE", GTIN), 0)


def test_a_key_signs_only_within_its_dates(bench: SignerBench) -> None:
    for now in (NOW - timedelta(seconds=1), NOW + timedelta(days=365)):
        bench.now = now
        with pytest.raises(SignerError, match="may not sign now"):
            bench.signer.sign(SignProductCode(bench.key_id, GTIN), 0)
    bench.now = NOW + timedelta(days=364, hours=23)
    assert bench.signer.sign(SignProductCode(bench.key_id, GTIN), 0)
    with pytest.raises(SignerError, match="zpkeys rotate"):
        bench.signer.active_key()


def test_a_rotation_lets_the_old_key_finish_and_begin_nothing(bench: SignerBench) -> None:
    assert bench.signer.active_key() == bench.key_id
    second = rotate(bench.room, NOW)
    assert bench.signer.active_key() == second
    assert bench.signer.sign(SignProductCode(bench.key_id, GTIN), 0)
    assert bench.signer.sign(SignProductCode(second, GTIN), 0)


@pytest.mark.parametrize("end", [retire, revoke])
def test_a_retired_or_revoked_key_signs_nothing(bench: SignerBench, end: object) -> None:
    assert bench.signer.sign(SignProductCode(bench.key_id, GTIN), 0)
    assert callable(end)
    end(bench.room, bench.key_id, NOW)
    with pytest.raises(SignerError, match="may not sign now"):
        bench.signer.sign(SignProductCode(bench.key_id, GTIN), 0)
    with pytest.raises(SignerError, match="no key may start"):
        bench.signer.active_key()


def test_a_private_key_of_the_wrong_mode_signs_nothing(bench: SignerBench) -> None:
    key_path(bench.room.keys_dir, bench.key_id).chmod(0o644)
    with pytest.raises(KeyringError, match="chmod 600"):
        bench.signer.sign(SignProductCode(bench.key_id, GTIN), 0)
    assert bench.entries() == []


def test_the_log_has_an_entry_for_each_request_and_no_secret(bench: SignerBench) -> None:
    signatures = [
        bench.signer.sign(SignProductCode(bench.key_id, GTIN), 11),
        bench.signer.sign(SignLotCode(bench.key_id, GTIN, "L1"), 12),
        bench.signer.sign(Items(bench.key_id, GTIN, 9, packed(7, 8)), 13),
    ]
    paths = [[f"/01/{GTIN}"], [f"/01/{GTIN}/10/L1"]]
    paths.append([Identity(GTIN, serial=Serial(9, slot)).path for slot in (7, 8)])
    digests = [
        hashlib.sha256(b"".join(signed_bytes(bench.key_id, path) for path in each)).hexdigest() for each in paths
    ]
    common = {"time": NOW.isoformat(), "key": bench.key_id, "gtin": GTIN}
    assert bench.entries() == [
        {**common, "uid": 11, "kind": "product", "count": 1, "sha256": digests[0]},
        {**common, "uid": 12, "kind": "lot", "lot": "L1", "count": 1, "sha256": digests[1]},
        {**common, "uid": 13, "kind": "items", "batch": 9, "first_slot": 7, "count": 2, "sha256": digests[2]},
    ]
    written = bench.log.read_bytes()
    assert bench.log.stat().st_mode & 0o777 == 0o600
    assert PASSPHRASE not in written
    assert not any(signature.hex().encode() in written for signature in signatures)


def test_nothing_is_signed_that_cannot_be_logged(tmp_path: Path) -> None:
    bench = SignerBench(key_room(tmp_path))
    bench.signer.sign(SignProductCode(bench.key_id, GTIN), 0)
    before = bench.log.read_bytes()
    with file_size_limit(len(before) + 20), pytest.raises(SignerError, match="so it signs nothing"):
        bench.signer.sign(SignProductCode(bench.key_id, GTIN), 0)
    assert bench.log.read_bytes() == before
    assert bench.signer.sign(SignProductCode(bench.key_id, GTIN), 0)
    assert len(bench.entries()) == 2


@contextlib.contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """No file of this process grows beyond `size` bytes: what a full disk does to a write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_log_others_can_read_is_refused(bench: SignerBench) -> None:
    bench.log.chmod(0o644)
    with pytest.raises(KeyringError, match="chmod 600"):
        SigningLog(bench.log)
