"""CSV files stay identical to the byte."""

from __future__ import annotations

import hashlib

import pytest

from tests.support.export_batches import fixed_batch, written
from zpcode.exports.csv import Csv
from zpcode.wire.payload import Level

DIGESTS = {  # SHA-256 of the files that version 0.1 wrote
    Level.PRODUCT: "e55bd072d9ad7be93ca7cc86874ba022b907d9c9d6620abac8ab322d50cf3789",
    Level.LOT: "cc7685d701c751303375aadb02100f8db04251ff948a36297a5288604ed6137f",
    Level.ITEM: "6224c816c9886f61038cd8c63a83eea701e3656be26bc5d016a9cb31e6fc69ad",
    Level.COMPACT: "affc915ce4539ee43d297efda5f2d295435828928365d5d980ae2b21a202c84f",
}


@pytest.mark.parametrize("level", DIGESTS)
def test_a_file_has_the_same_bytes_as_in_earlier_versions(level: Level) -> None:
    """An issued batch's file can be written again only as long as this holds."""
    assert hashlib.sha256(written(Csv().layout(fixed_batch(level)), level)).hexdigest() == DIGESTS[level]
