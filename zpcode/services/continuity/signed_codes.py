"""What the signer's own log proves of a batch: that it has signed exactly the codes that a card describes.

The log has the hash of the signed bytes of each request. They follow from the batch number, the GTIN, the signing key, the
permutation key and the quantity. So a card whose codes give the same hashes has the true keys, even if somebody else wrote it. The log has no
lot and no dates: these are compared by a person.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from keys.client import SigningService
from keys.log.chain import LogLine
from zpcode.rules.batches.batch import Batch
from zpcode.wire import bulk
from zpcode.wire.payload import MAX_BATCH, SERIAL_LENGTH, Level, signed_bytes
from zpcode.wire.permutation import Permutation

_AT_ONCE: Final = 65_536
SignedRequests = Mapping[int, Collection[LogLine]]
"""The requests for item codes in the signer's log, by batch number."""


def signed_requests(signer: SigningService, numbers: Collection[int]) -> SignedRequests:
    """The requests for codes of these batches in the newest file of the signer's log; none if somebody has changed that file.

    Raises SignerError, SignerUnavailable, KeyringError.
    """
    requests: defaultdict[int, list[LogLine]] = defaultdict(list)
    if not numbers:
        return requests
    reading = signer.read_log()
    for line in reading:
        if line.kind == "items" and line.batch in numbers:
            requests[line.batch].append(line)
    return requests if reading.chain.fault is None else {}


def signed_numbers(signer: SigningService) -> set[int]:
    """The batch numbers of all requests for item codes in the newest file of the signer's log, also in one that somebody has changed.

    Raises SignerError, SignerUnavailable, KeyringError.
    """
    return {line.batch for line in signer.read_log() if 1 <= line.batch <= MAX_BATCH}


def proves(requests: Iterable[LogLine], batch: Batch) -> bool:
    """Whether these requests are for all codes of a batch, and their hashes are those of its codes."""
    if batch.level is not Level.ITEM or not batch.key_id:
        return False
    permutation = Permutation(batch.permutation_key)
    spans = []
    for line in requests:
        first = permutation.index(line.first_slot)
        if (line.key, line.gtin) == (batch.key_id, batch.gtin) and first + line.count <= batch.codes:
            spans.append((first, line.count, line.sha256))
    covered = 0
    for first, count, sha256 in sorted(spans):
        if first > covered:
            return False
        if first + count > covered and _signed_sha256(batch, first, count) == sha256:
            covered = first + count
    return covered == batch.codes


def _signed_sha256(batch: Batch, first: int, count: int) -> str:
    """The hash that the signer's log has of the codes with the indices from `first` on."""
    prefix = signed_bytes(batch.key_id, f"/01/{batch.gtin}/21/")
    digest = hashlib.sha256()
    for start in range(first, first + count, _AT_ONCE):
        slots = bulk.slots(batch.permutation_key, start, min(_AT_ONCE, first + count - start))
        text = bulk.serials(batch.number, slots).tobytes()
        for at in range(0, len(text), SERIAL_LENGTH):
            digest.update(prefix + text[at : at + SERIAL_LENGTH])
    return digest.hexdigest()
