"""A batch without its file whose codes the signer's log proves: confirmed by a person, its file is the same again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keys.log.chain import LogLine
from keys.log.writer import entry
from keys.messages import messages_of
from keys.protocol import Items
from tests.support import restores
from tests.support.code_folders import content
from tests.support.recovery_setting import Restorable
from tests.support.registry_data import gtin
from tests.support.status_setting import in_redis
from zpcode.errors import Conflict, NotFound
from zpcode.projection import projector
from zpcode.rules.batches.batch import Activation, Batch
from zpcode.services.continuity import settling, waiting
from zpcode.services.continuity.report import RecoveryReport
from zpcode.services.continuity.signed_codes import proves
from zpcode.store.database.session import transaction
from zpcode.wire import bulk, redis_keys
from zpcode.wire.card import BatchCard, batch_key
from zpcode.wire.payload import Level
from zpcode.wire.verdict import Verdict

NOW: Final = datetime(2026, 11, 29, tzinfo=UTC)
KEY: Final = bytes(range(16))
BATCH: Final = Batch(
    7, "uscc", "330100", gtin(1), Level.ITEM, 1000, "", None, None, "csv", "https://zpm.example", Activation.MANUAL, "cli", NOW,
    KEY, b"", "ABCD",
)  # fmt: skip


def signed(batch: Batch, first: int, count: int, **changes: Any) -> LogLine:
    """The line of the signer's log for a request for these codes, as the signer writes it."""
    request = Items(batch.key_id, batch.gtin, batch.number, bulk.slots(batch.permutation_key, first, count).tobytes())
    fields = entry(request, messages_of(request), NOW, 0) | changes
    return msgspec.convert(fields, LogLine)


@settings(max_examples=20, deadline=None)
@given(cuts=st.sets(st.integers(1, 999), max_size=6), again=st.booleans(), order=st.randoms())
def test_the_requests_of_all_codes_prove_a_batch_however_they_were_cut(cuts: set[int], again: bool, order: Any) -> None:
    """In any order; a part that was signed again after a kill counts once. Without one part nothing is proven."""
    edges = [0, *sorted(cuts), 1000]
    lines = [signed(BATCH, first, after - first) for first, after in pairwise(edges)]
    shuffled = [*lines, *(lines[:1] if again else [])]
    order.shuffle(shuffled)
    assert proves(shuffled, BATCH)
    for missing in lines:
        assert not proves([line for line in shuffled if line is not missing and line != missing], BATCH)


@pytest.mark.parametrize(
    "changes",
    [
        {"permutation_key": bytes(16)},
        {"quantity": 999},
        {"quantity": 1001},
        {"gtin": gtin(2)},
        {"number": 8},
        {"key_id": "ABCE"},
        {"key_id": ""},
        {"level": Level.COMPACT},
        {"level": Level.PRODUCT},
    ],
    ids=str,
)
def test_a_card_with_any_other_field_is_not_proven(changes: dict[str, Any]) -> None:
    """Each of them is in the signed bytes, or in their number."""
    assert proves([signed(BATCH, 0, 1000)], BATCH)
    assert not proves([signed(BATCH, 0, 1000)], replace(BATCH, **changes))
    assert not proves([signed(BATCH, 0, 1000, sha256="0" * 64)], BATCH)


@pytest.fixture
def without_file(service: Restorable) -> Batch:
    """A batch of item codes that was issued after the backup, and whose file is gone."""
    dumped = restores.dump(service.addresses)
    batch = service.issue(Level.ITEM, "after")
    path = service.checked.file(batch.number)
    path.rename(path.with_name("aside"))
    restores.restore(service.addresses, dumped)
    return batch


def outcome(report: RecoveryReport, batch: Batch) -> str:
    """What became of a batch."""
    return {one.number: one.outcome for one in report.batches}[batch.number]


def test_a_batch_that_the_log_proves_waits_and_its_file_is_written_again(
    service: Restorable, without_file: Batch
) -> None:
    """Until a person has compared lot and dates its codes cannot be confirmed. The file has the same bytes then."""
    assert outcome(service.recover(), without_file) == "signed"
    assert service.verdict(without_file.number, 3) is Verdict.UNCONFIRMED
    assert f"record:{without_file.number}" in {one.where for one in service.checked.of("continuity").findings}
    assert service.confirm_all()
    again = service.batch(without_file.number)
    assert again is not None
    assert (again.sha256, again.bytes, again.key_id) == (without_file.sha256, without_file.bytes, without_file.key_id)
    assert content(service.checked.context.exports, again).startswith(b"url,")
    assert service.verdict(without_file.number, 3) is Verdict.VERIFIED
    fsck = service.checked.check(now=datetime.now(UTC), deep=True)
    assert [(one.invariant.name, one.findings) for one in fsck.outcomes if one.findings] == []


def test_a_rejected_batch_stays_lost(service: Restorable, without_file: Batch) -> None:
    """It is not offered again, and cannot be confirmed any more."""
    service.recover()
    name = f"record:{without_file.number}"
    settling.reject(service.setting, [name])
    with pytest.raises(NotFound):
        settling.confirm(service.setting, [name])
    assert service.recover().batches == []
    assert service.verdict(without_file.number, 3) is Verdict.UNCONFIRMED


def test_without_the_signer_a_batch_is_only_lost_and_offered_later(service: Restorable, without_file: Batch) -> None:
    """The card is kept: the next recovery reads the log again."""
    assert outcome(service.recover(signer=None), without_file) == "unproven"
    assert outcome(service.recover(), without_file) == "signed"
    with pytest.raises(Conflict, match="does not prove"):
        settling.confirm(replace(service.setting, signer=None), [f"record:{without_file.number}"])
    assert service.confirm_all()
    assert service.verdict(without_file.number, 3) is Verdict.VERIFIED


def test_a_lot_that_somebody_wrote_to_redis_is_shown_to_the_person_who_confirms(
    service: Restorable, without_file: Batch
) -> None:
    """The log proves the codes alone, so nothing of it is entered by itself."""
    key = batch_key(without_file.number)
    body = in_redis(service.redis)(key)
    assert body is not None
    card = msgspec.structs.replace(msgspec.msgpack.decode(body, type=BatchCard), lot="FORGED-1")
    where, _ = redis_keys.location(key)
    copy: Any = service.redis.get(where)
    service.redis.set(where, redis_keys.pack(redis_keys.unpack(copy)[0], msgspec.msgpack.encode(card)))
    assert outcome(service.recover(), without_file) == "signed"
    with transaction(service.engine) as connection:
        (item,) = [one for one in waiting.listing(connection, datetime.now(UTC)) if one.name.startswith("record:")]
    assert "lot FORGED-1" in item.text.en
    settling.reject(service.setting, [item.name])
    projector.catch_up(service.engine, service.redis)
    assert service.batch(without_file.number) is None
