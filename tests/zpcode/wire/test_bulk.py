"""The NumPy functions agree with the scalar ones for every chunk."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.code_factories import gtins, slots
from zpcode.wire import bulk
from zpcode.wire.base32 import seal_text, serial_text
from zpcode.wire.payload import CHECK_LENGTH, MAX_BATCH, Serial, check_of
from zpcode.wire.permutation import SLOTS, Permutation

keys = st.binary(min_size=16, max_size=16)
batches = st.integers(1, MAX_BATCH)
slot_lists = st.lists(slots, min_size=1, max_size=40)


def _texts(rows: bulk.Bytes2D) -> list[str]:
    return [row.tobytes().decode("ascii") for row in rows]


@given(keys, st.integers(0, SLOTS - 50), st.integers(1, 50))
def test_slots(key: bytes, first: int, count: int) -> None:
    """The slots of a range equal the permutation of each index."""
    permutation = Permutation(key)
    assert bulk.slots(key, first, count).tolist() == [permutation.slot(first + step) for step in range(count)]


@given(batches, slot_lists)
def test_serials(batch: int, chosen: list[int]) -> None:
    """Twelve characters for each slot."""
    rows = bulk.serials(batch, np.array(chosen, np.uint64))
    assert _texts(rows) == [Serial(batch, slot).text for slot in chosen]


@given(st.lists(st.binary(min_size=64, max_size=64), min_size=1, max_size=30))
def test_seals(signatures: list[bytes]) -> None:
    """A hundred and three characters for each signature, spare bits zero."""
    assert _texts(bulk.seals(b"".join(signatures))) == [seal_text(signature) for signature in signatures]


@given(keys, gtins, batches, slot_lists)
@settings(max_examples=50)
def test_checks(key: bytes, gtin: str, batch: int, chosen: list[int]) -> None:
    """Eight characters of HMAC for each serial."""
    rows = bulk.checks(key, gtin, bulk.serials(batch, np.array(chosen, np.uint64)))
    assert _texts(rows) == [serial_text(check_of(key, gtin, Serial(batch, slot)), CHECK_LENGTH) for slot in chosen]
